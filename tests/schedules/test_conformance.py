"""Every public schedule, by one table, through all that a schedule promises. A new one is a new row."""

import ast
import importlib
import inspect
import math
import operator
import pickle
import re
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsched as js
from jaxsched.schedules import Schedule

LAST = 2**31 - 1


class Case(NamedTuple):
    """A schedule, the same with other numbers, what it is at step 0, and from which step on it stays at what."""

    schedule: Schedule
    other: Schedule
    first: float
    end: int | None = None
    last: float | None = None


def case(make, numbers, others, first, end=None, last=None):
    return Case(make(*numbers), make(*others), first, end, last)


CASES = {
    "add": Case(
        js.schedules.add(js.linear(1.0, 0.0, 8), 0.25), js.schedules.add(js.linear(2.0, 1.0, 9), 0.5), 1.25, 8, 0.25
    ),
    "clamp": case(
        lambda n, a, b: js.schedules.clamp(js.linear(0.0, 1.0, n), a, b), (10, 0.25, 0.5), (9, 0.1, 0.7), 0.25, 10, 0.5
    ),
    "constant": case(js.constant, (0.1,), (0.7,), 0.1, 0, 0.1),
    "cooldown": case(js.cooldown, (1.0, 2, 8, 0.1), (2.0, 3, 9, 0.2), 1.0, 10, 0.1),
    "cooldown, cosine": case(lambda *a: js.cooldown(*a, "cosine"), (1.0, 2, 8, 0.1), (2.0, 3, 9, 0.2), 1.0, 10, 0.1),
    "cooldown, exponential": case(
        lambda *a: js.cooldown(*a, "exponential"), (1.0, 2, 8, 0.1), (2.0, 3, 9, 0.2), 1.0, 10, 0.1
    ),
    "cooldown, sqrt": case(lambda *a: js.cooldown(*a, "sqrt"), (1.0, 2, 8, 0.1), (2.0, 3, 9, 0.2), 1.0, 10, 0.1),
    "cosine": case(js.cosine, (0.3, 10, 0.1), (0.7, 11, 0.2), 0.3, 10, 0.1),
    "cosine, k": case(js.cosine, (0.3, 10, 0.1, 1.5), (0.7, 11, 0.2, 0.7), 0.3, 10, 0.1),
    "cosine, not whole": case(js.cosine, (0.3, 9.6, 0.1), (0.7, 11.5, 0.2), 0.3, 10, 0.1),
    "cosine_restarts": case(js.cosine_restarts, (0.3, 5, 0.1, 2, 0.5, 3), (0.7, 6, 0.2, 1, 0.9, 3), 0.3, 35, 0.1),
    "cosine_restarts, endless": case(js.cosine_restarts, (0.3, 5, 0.1), (0.7, 6, 0.2), 0.3),
    "cyclic": case(js.cyclic, (0.1, 1.0, 3, 5), (0.2, 2.0, 4, 7), 0.1),
    "cyclic, triangular2": case(
        lambda low, high, up, factor: js.cyclic(low, high, up, amplitude=js.step_decay(1.0, 2 * up, factor)),
        (0.1, 1.0, 4, 0.5),
        (0.2, 2.0, 5, 0.6),
        0.1,
    ),
    "delayed": case(lambda n, by: js.schedules.delayed(js.linear(1.0, 0.1, n), by), (8, 2), (9, 3), 1.0, 10, 0.1),
    "exponential": case(js.exponential, (0.3, 0.9), (0.7, 0.99), 0.3),
    "exponential, staircase": case(lambda *a: js.exponential(*a, True), (0.3, 0.9, 3), (0.7, 0.99, 4), 0.3),
    "exponential_ramp": case(
        js.schedules.exponential_ramp, (0.9999, 20), (0.99, 30), 0.9999 * -math.expm1(-1 / 20), 2000, 0.9999
    ),
    "flat_then_cosine": case(js.schedules.flat_then_cosine, (0.3, 12, 5, 0.1), (0.7, 13, 4, 0.2), 0.3, 12, 0.1),
    "from_function": Case(js.from_function(operator.neg), js.from_function(operator.neg), 0.0),
    "inverse_power": case(js.schedules.inverse_power, (0.3, 0.1, 1.7, 3), (0.7, 0.2, 2.3, 2), 0.3),
    "inverse_sqrt": case(js.inverse_sqrt, (0.3, 10), (0.7, 20), 0.3),
    "inverse_time": case(js.inverse_time, (0.3, 0.1, 3), (0.7, 0.2, 2), 0.3),
    "linear": case(js.linear, (0.3, 0.1, 10), (0.7, 0.2, 11), 0.3, 10, 0.1),
    "maximum": case(lambda n, a: js.schedules.maximum(js.linear(1.0, 0.0, n), a), (10, 0.25), (11, 0.5), 1.0, 10, 0.25),
    "minimum": case(lambda n, a: js.schedules.minimum(js.linear(0.0, 1.0, n), a), (10, 0.25), (11, 0.5), 0.0, 10, 0.25),
    "multi_step": case(js.multi_step, (0.3, (3, 3, 7), 0.5), (0.7, (2, 4, 5), 0.1), 0.3, 7, 0.3 * 0.125),
    "one_cycle": case(js.one_cycle, (0.3, 12, 4, 0.1, 0.01), (0.7, 13, 5, 0.2, 0.02), 0.1, 12, 0.01),
    "one_cycle, three linear phases": case(
        lambda *a: js.one_cycle(*a, "linear", True), (0.3, 12, 4, 0.1, 0.01), (0.7, 13, 5, 0.2, 0.02), 0.1, 12, 0.01
    ),
    "one_cycle_momentum": case(js.schedules.one_cycle_momentum, (12, 4, 0.8, 0.9), (13, 5, 0.7, 0.95), 0.9, 12, 0.9),
    "per_epoch": case(lambda n, k: js.per_epoch(js.linear(1.0, 0.1, n), k), (3, 4), (4, 3), 1.0, 12, 0.1),
    "periodic_cosine": case(js.schedules.periodic_cosine, (0.3, 5, 0.1), (0.7, 6, 0.2), 0.3),
    "piecewise": case(
        lambda a, n, *at: js.piecewise([a, js.linear(0.0, 0.1, n)], list(at)), (1.0, 9, 3), (0.5, 8, 2), 1.0, 9, 0.1
    ),
    "polynomial": case(js.polynomial, (0.3, 0.1, 10, 0.9), (0.7, 0.2, 11, 2.5), 0.3, 10, 0.1),
    "polynomial, k": case(js.polynomial, (0.3, 0.1, 10, 0.9, 1.5), (0.7, 0.2, 11, 2.5, 0.7), 0.3, 10, 0.1),
    "product": Case(js.product(js.linear(1.0, 0.5, 8), 0.25), js.product(js.linear(2.0, 1.0, 9), 0.5), 0.25, 8, 0.125),
    "quotient": Case(
        js.schedules.quotient(js.linear(1.0, 0.5, 8), 4.0),
        js.schedules.quotient(js.linear(2.0, 1.0, 9), 5.0),
        0.25,
        8,
        0.125,
    ),
    "sequential": case(
        lambda a, n, at: js.sequential([js.linear(0.1, a, at), js.cosine(a, n, 0.01)], [at]),
        (0.3, 10, 4),
        (0.7, 11, 5),
        0.1,
        14,
        0.01,
    ),
    "step_decay": case(js.step_decay, (0.3, 4, 0.9), (0.7, 5, 0.99), 0.3),
    "step_decay, not whole": case(js.step_decay, (0.3, 2.4, 0.9), (0.7, 1.1, 0.99), 0.3),
    "table": case(lambda *values: js.table(values), (0.3, 0.1, 0.2), (0.7, 0.5, 0.6), 0.3, 2, 0.2),
    "tabulate": Case(js.tabulate(math.sqrt, 4), js.tabulate(math.exp, 4), 0.0, 3, math.sqrt(3)),
    "tanh_decay": case(
        js.schedules.tanh_decay,
        (0.3, 10, 0.1),
        (0.7, 11, 0.2),
        0.2 / (1 + math.exp(-14)) + 0.1,
        10,
        0.1,
    ),
    "warmup": case(lambda a, n, m: js.warmup(js.cosine(a, n, 0.1), m, 0.01), (0.3, 10, 4), (0.7, 11, 5), 0.01, 10, 0.1),
    "warmup, constant": case(lambda *a: js.warmup(*a, "constant"), (0.3, 4, 0.1), (0.7, 5, 0.2), 0.1, 4, 0.3),
    "warmup, cosine": case(lambda *a: js.warmup(*a, "cosine"), (0.3, 4, 0.1), (0.7, 5, 0.2), 0.1, 4, 0.3),
    "warmup, exponential": case(lambda *a: js.warmup(*a, "exponential"), (0.3, 4, 0.1), (0.7, 5, 0.2), 0.1, 4, 0.3),
    "warmup, quadratic": case(lambda *a: js.warmup(*a, "quadratic"), (0.3, 4, 0.1), (0.7, 5, 0.2), 0.1, 4, 0.3),
    "warmup_stable_decay": case(
        js.warmup_stable_decay, (0.3, 4, 3, 5, 0.1, 0.01), (0.7, 5, 2, 6, 0.2, 0.02), 0.1, 12, 0.01
    ),
}
NOT_SCHEDULES = {"composition", "schedule", "stack"}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
# Every step of the run, far past its end, and the last there is. 1e-6 is the promised 8 ulp.
STEPS = jnp.asarray([*range(40), 1000, 10**6, 2**24 + 1, LAST - 1, LAST], jnp.int32)
RTOL = 1e-6


def public_makers():
    found = {}
    for name, value in vars(js.schedules).items():
        if inspect.isfunction(value) and name not in NOT_SCHEDULES and not name.startswith("_"):
            returns = inspect.signature(value).return_annotation
            if returns in ("Schedule", Schedule):
                found[name] = value
    return found


MAKERS = public_makers()
every_maker = pytest.mark.parametrize("name", MAKERS)


def test_every_public_schedule_is_in_the_table():
    assert {name.split(",")[0] for name in CASES} == set(MAKERS)


@every_maker
def test_every_public_schedule_has_a_docstring_with_an_example(name):
    assert ">>> " in MAKERS[name].__doc__


ROOMS = [importlib.import_module(f"jaxsched.ports.{name}") for name in (*dir(js.ports), "shared")]
PORTS = [maker for room in ROOMS for maker in getattr(room, "SCHEDULES", ())]


@pytest.mark.parametrize("maker", [*MAKERS.values(), js.plateau, js.metric.greedy, *PORTS], ids=lambda m: m.__name__)
def test_it_says_where_it_ends_or_that_it_does_not(maker):
    """By a declaration, those of ports too; what is composed of others says it through them."""
    assert getattr(maker, "moments", "composed") is not None


def strings(path):
    """The string constants of a module, docstrings apart."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    found = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in docs)
    return {node.value for node in found if isinstance(node.value, str)}


def test_reports_recipes_and_the_command_line_know_no_schedule_by_name():
    names = {maker.__name__ for maker in (*MAKERS.values(), js.plateau, js.metric.greedy, *PORTS)}
    package = Path(js.__file__).parent
    files = [path for room in ("report", "recipe", "cli") for path in sorted((package / room).rglob("*.py"))]
    found = {(path.name, name) for path in files for name in strings(path) & names}
    assert found <= {("_page_figures.py", "linear")}  # a scale of an axis


@every_case
def test_the_end_that_it_declares_is_its_last_change(case):
    found = js.schedules.moments(case.schedule, 100)
    if case.end is None:
        assert not [m for m in found if m.kind == "end" and m.clock.end > m.step]
    elif found:
        assert max(m.step for m in found) == case.end


@every_maker
def test_a_misspelt_keyword_names_the_schedule_and_the_remedy(name):
    with pytest.raises(TypeError, match=rf"{name}: .*stepz.*It is called as {name}\("):
        MAKERS[name](stepz=3)


def flat_floats(schedule):
    leaves, structure = jax.tree.flatten(schedule)
    places = [i for i, leaf in enumerate(leaves) if jnp.issubdtype(jnp.result_type(leaf), jnp.floating)]

    def rebuild(floats):
        new = list(leaves)
        for i, leaf in zip(places, floats, strict=True):
            new[i] = leaf
        return jax.tree.unflatten(structure, new)

    return [leaves[i] for i in places], rebuild


@every_case
def test_constants_arguments_scan_and_gradients(case):
    """The same values eagerly, with constant numbers and with traced ones, step by step; gradients finite."""
    compiled = []

    @jax.jit
    def step_by_step(schedule, steps):
        compiled.append(None)
        floats, rebuild = flat_floats(schedule)
        value_and_gradients = jax.value_and_grad(lambda floats, step: rebuild(floats)(step))
        return jax.lax.scan(lambda _, step: (None, value_and_gradients(floats, step)), None, steps)[1]

    eager = np.asarray(case.schedule(STEPS))
    baked = np.asarray(jax.jit(case.schedule)(STEPS))
    traced, gradients = step_by_step(case.schedule, STEPS)
    assert np.isfinite(eager).all()
    np.testing.assert_allclose(baked, eager, rtol=RTOL)
    np.testing.assert_allclose(traced, eager, rtol=RTOL)
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    other, _ = step_by_step(case.other, STEPS)
    assert len(compiled) == 1, "other numbers must not need another compilation"
    if jax.tree.leaves(case.schedule):
        assert not np.array_equal(other, traced)

    # The ends are exact: one value, the float32 nearest to the true one or its neighbour.
    for values in (eager, baked, np.asarray(traced)):
        assert float(values[0]) == pytest.approx(case.first, rel=1.2e-7)
        if case.end is not None:
            after = values[np.asarray(STEPS) >= case.end]
            assert set(after.tolist()) == {float(after[0])}
            assert float(after[0]) == pytest.approx(case.last, rel=1.2e-7)


@every_case
def test_vmap_of_a_stack_is_a_loop(case):
    if not jax.tree.leaves(case.schedule):
        return
    both = [case.schedule, case.other]
    values = jax.jit(jax.vmap(lambda schedule: schedule(STEPS)))(js.stack(both))
    np.testing.assert_allclose(values, np.stack([schedule(STEPS) for schedule in both]), rtol=RTOL)


@every_case
def test_in_a_compiled_step_it_is_scalar_arithmetic(case):
    """No loop, no call to the host, no array; only a table is looked up."""
    program = jax.jit(case.schedule).lower(jnp.int32(0)).compile().as_text()
    operations = set(re.findall(r"= \S+ ([a-z][a-z0-9-]*)\(", program))
    assert operations
    if case.schedule.name != "table":
        assert not re.findall(r"\b(?:pred|[a-z]+[0-9]+)\[[0-9]", program)
        assert not operations & {"gather", "dynamic-slice", "sort", "reduce"}
    assert not operations & {"while", "custom-call", "conditional", "scatter"}


@every_case
def test_it_is_a_value(case):
    """Equality, hash, pickle, repr and replace."""
    schedule, other = case.schedule, case.other
    names = {**vars(js.schedules), "neg": operator.neg, "nan": math.nan}
    for same in (pickle.loads(pickle.dumps(schedule)), eval(repr(schedule), names), schedule.replace()):
        assert same == schedule
        assert hash(same) == hash(schedule)
        assert repr(same) == repr(schedule)
        assert same is not schedule
    if jax.tree.leaves(schedule):
        assert schedule != other
        assert len({schedule, other, schedule.replace()}) == 2


@every_case
def test_shapes_and_types(case):
    """One value for each step, in float32, and in float64 where that is enabled."""

    def kind(step):
        value = jax.eval_shape(case.schedule, step)
        return value.shape, value.dtype.name

    assert kind(7) == kind(jnp.uint32(7)) == ((), "float32")
    assert kind(np.zeros((2, 3), np.int32)) == ((2, 3), "float32")
    assert kind(np.zeros((0,), np.int32)) == ((0,), "float32")
    with jax.enable_x64(True):
        assert kind(7) == ((), "float64")
        assert kind(np.zeros((2, 3), np.int32)) == ((2, 3), "float64")


def test_any_kind_of_step():
    schedule = js.cosine(0.1, 10)
    seven = float(schedule(7))
    kinds = (np.int64(7), np.int32(7), np.uint32(7), jnp.int32(7), jnp.uint32(7), 7.0, jnp.float32(7), np.asarray(7))
    for step in kinds:
        value = schedule(step)
        assert (float(value), value.shape, value.dtype) == (seven, (), jnp.float32), repr(step)
    schedule = js.exponential(1.0, 1 - 1e-9)
    assert float(schedule(-3)) == float(schedule(jnp.int32(-3))) == 1.0
    last = float(schedule(LAST))
    assert float(schedule(2**40)) == float(schedule(jnp.uint32(2**32 - 1))) == last < float(schedule(LAST - 10**7))


@pytest.mark.parametrize("step", [0.5, "3", None, True, [1.5]])
def test_a_step_is_a_whole_number(step):
    with pytest.raises((TypeError, ValueError)):
        js.cosine(0.1, 10)(step)


def test_a_schedule_does_not_change():
    schedule = js.cosine(0.1, 10)
    with pytest.raises(AttributeError, match="replace"):
        schedule.peak = 0.2
    assert schedule.replace(peak=0.2) == js.cosine(0.2, 10)
    with pytest.raises(ValueError, match="cosine: steps must be a positive"):
        schedule.replace(steps=0)
