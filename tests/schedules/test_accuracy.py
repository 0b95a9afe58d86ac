"""Within 8 float32 ulp of the true value, and 1e-12 in float64: the rows of benchmarks/accuracy.py at fewer steps."""

import inspect
import runpy
from fractions import Fraction
from pathlib import Path

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import jaxsched as js

BENCHMARK = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "accuracy.py"))
ROWS, HORIZONS = BENCHMARK["rows"](), BENCHMARK["HORIZONS"]
Longdouble, ulps, steps_to_try = BENCHMARK["Longdouble"], BENCHMARK["ulps"], BENCHMARK["steps_to_try"]
FAMILIES, drawn, evaluate_batch = BENCHMARK["families"](), BENCHMARK["drawn"], BENCHMARK["evaluate_batch"]
least = BENCHMARK["least"]


def most_ulps(name):
    """The promise: 8 ulp, and 9 for a cosine with k, as its docstring says."""
    return 9 if ", k" in name else 8


LAST = 2**31 - 1
every_row = pytest.mark.parametrize("name", ROWS)


class Mpmath:
    """The numbers of the formulas, at 50 digits, for one step."""

    mpmath.mp.dps = 50
    number, pi = mpmath.mpf, mpmath.pi
    sin, exp, log, expm1, log1p, sqrt, floor = (
        getattr(mpmath, name) for name in ("sin", "exp", "log", "expm1", "log1p", "sqrt", "floor")
    )
    minimum, maximum = min, max

    @staticmethod
    def where(condition, a, b):
        return a if condition else b


@every_row
def test_the_true_values_are_true(name):
    """By mpmath with 50 digits, to the 18 that longdouble has (15 where it is a float64)."""
    horizon, truth = 10**5, ROWS[name].truth
    steps = [0, 1, 1234, 30001, 50000, 66667, 99999, 100000, LAST]
    quick = np.broadcast_to(truth(Longdouble, np.asarray(steps, np.longdouble), horizon), len(steps))
    for step, value in zip(steps, quick, strict=True):
        exact = truth(Mpmath, mpmath.mpf(step), horizon)
        if exact < 1e-300:
            assert value < 1e-300
            continue
        # A rounding of the logarithm of a power counts as often as the power's logarithm is long.
        most = 64 * float(np.finfo(np.longdouble).eps) * (1 + abs(float(mpmath.log(exact))))
        found = mpmath.mpf(np.format_float_scientific(value, unique=False, precision=30))
        assert abs(found / exact - 1) < most, step


def of_one_length(steps):
    return np.resize(steps, 9000)


@every_row
def test_within_eight_ulp(name):
    """As an argument at every horizon (one compilation), and with constants at one of them. Never NaN or negative."""
    row = ROWS[name]
    traced = jax.jit(lambda schedule, steps: schedule(steps))
    constant_at = HORIZONS[list(ROWS).index(name) % len(HORIZONS)]
    for horizon in HORIZONS:
        steps = of_one_length(steps_to_try(horizon, 400))
        truth = np.asarray(row.truth(Longdouble, steps.astype(np.longdouble), horizon), np.longdouble)
        schedule, steps = row.ours(horizon), jnp.asarray(steps, jnp.int32)
        kinds = {"argument": lambda schedule, steps: traced(schedule, steps)}
        if horizon == constant_at:
            kinds["constant"] = lambda schedule, steps: jax.jit(schedule)(steps)
        for kind, evaluate in kinds.items():
            values = np.asarray(evaluate(schedule, steps))
            errors = ulps(values, truth)
            worst = int(np.nanargmax(errors))
            assert errors[worst] <= most_ulps(name), (kind, horizon, int(steps[worst]), values[worst], truth[worst])
            assert (values >= 0).all(), (kind, horizon)
            assert (values[truth > 1e-37] > 0).all(), (kind, horizon)


every_family = pytest.mark.parametrize("name", FAMILIES)


def one_ulp(exact):
    """The distance between float32 numbers at a true value, also where that is larger than them all."""
    return mpmath.mpf(2) ** (mpmath.floor(mpmath.log(abs(exact), 2)) - 23)


@every_family
def test_drawn_arguments_within_eight_ulp_of_50_digits(name):
    """Numbers that are not round: 16 schedules at 32 steps each, the same in every run. Never NaN or negative.

    Evaluated as a batch, that is under vmap.
    """
    family = FAMILIES[name]
    arguments, steps = drawn(family, schedules=16, number=32, seed=7)
    batch = js.stack([family.ours(*each) for each in arguments])
    values = np.asarray(evaluate_batch(batch, jnp.asarray(steps, jnp.int32)))
    assert (values >= 0).all()
    for each, at, found in zip(arguments, steps, values, strict=True):
        for step, value in zip(at, found, strict=True):
            exact = family.truth(Mpmath, mpmath.mpf(int(step)), *each)
            if exact > np.finfo(np.float32).max:
                assert value > 1e38, (each, step)
                continue
            off = abs(mpmath.mpf(float(value)) - exact)
            assert off <= least(each) or off <= most_ulps(name) * one_ulp(exact), (each, step, value, exact)


@pytest.mark.slow
@every_family
def test_drawn_arguments_at_int64_steps_to_eleven_digits(name):
    """In 64-bit mode, where a step may be beyond 2**31 - 1: it counts as that."""
    family = FAMILIES[name]
    arguments, steps = drawn(family, schedules=6, number=24, seed=8)
    steps[:, -1] = 2**40
    with jax.enable_x64(True):
        batch = js.stack([family.ours(*each) for each in arguments])
        values = np.asarray(evaluate_batch(batch, jnp.asarray(steps, jnp.int64)))
    assert values.dtype == np.float64
    for each, at, found in zip(arguments, np.minimum(steps, LAST), values, strict=True):
        exact = [family.truth(Mpmath, mpmath.mpf(int(step)), *each) for step in at]
        np.testing.assert_allclose(found, np.asarray(exact, float), rtol=1e-11, atol=1e-300, err_msg=str(each))


VALUES = ("start", "end", "peak", "floor", "high")
"""Arguments that are values, not lengths, rates or exponents."""


@pytest.mark.slow
@every_family
def test_gradients_of_drawn_arguments(name):
    """Finite for every leaf; those by values within 64 ulp (4e-6), by differences at 120 digits."""
    family = FAMILIES[name]
    names = list(inspect.signature(family.ours).parameters)
    arguments, steps = drawn(family, schedules=6, number=12, seed=9)
    schedules = [family.ours(*each) for each in arguments]
    batch = js.stack(schedules)
    leaves, kind = jax.tree.flatten(batch)
    floats = [i for i, leaf in enumerate(leaves) if jnp.issubdtype(leaf.dtype, jnp.floating)]

    def value(numbers, schedule, step):
        own = jax.tree.leaves(schedule)
        for i, number in zip(floats, numbers, strict=True):
            own[i] = number
        return jax.tree.unflatten(kind, own)(step)

    over_steps = jax.vmap(jax.grad(value), (None, None, 0))
    gradients = jax.jit(jax.vmap(over_steps))([leaves[i] for i in floats], batch, jnp.asarray(steps, jnp.int32))
    found = list(leaves)
    for i, gradient in zip(floats, gradients, strict=True):
        # A derivative by a length or a rate may be larger than float32 where a value is: 1e30 by 1e-9.
        usual = [k for k, each in enumerate(arguments) if all(1e-12 < abs(x) < 1e12 or x == 0 for x in each)]
        assert np.isfinite(np.asarray(gradient)[usual]).all(), i
        found[i] = gradient
    by_name = jax.tree.unflatten(kind, found).arguments
    for argument in VALUES:
        if argument not in names or argument not in by_name or not hasattr(by_name[argument], "shape"):
            continue  # a part of a composition
        at = names.index(argument)
        with mpmath.workdps(120):
            for each, row, gradient in zip(arguments, steps, by_name[argument], strict=True):
                for step, one in zip(row, gradient, strict=True):
                    by = mpmath.mpf(abs(each[at]) or 1) / 10**15
                    ends = [[*each[:at], mpmath.mpf(each[at]) + d, *each[at + 1 :]] for d in (by, -by)]
                    high, low = (family.truth(Mpmath, mpmath.mpf(int(step)), *changed) for changed in ends)
                    exact = (high - low) / (2 * by)
                    off = abs(mpmath.mpf(float(one)) - exact)
                    assert off <= 1e-37 or off <= 64 * one_ulp(exact), (argument, each, step, one, exact)


def test_a_wave_that_falls_is_within_eight_ulp_of_where_it_starts():
    """With an amplitude below 1 small values are differences of larger ones, as the docstring of `cyclic` says."""
    some = np.random.default_rng(3)
    drawn = [(10 ** some.uniform(-6, 3), int(some.integers(1, 1000)), 1 - 10 ** some.uniform(-8, -1)) for _ in range(8)]
    batch = js.stack([js.cyclic(low, low / 1e4, up, amplitude=js.exponential(1.0, rate)) for low, up, rate in drawn])
    steps = np.stack([np.linspace(0, 8 * up, 64).astype(np.int32) for _, up, _ in drawn])
    values = np.asarray(evaluate_batch(batch, jnp.asarray(steps)), np.longdouble)
    for (low, up, rate), at, found in zip(drawn, steps.astype(np.longdouble), values, strict=True):
        over = at % (2 * up)
        height = np.where(over < up, over, 2 * up - over) / up * np.exp(at * np.log(np.longdouble(rate)))
        exact = low * (1 - height) + np.longdouble(low / 1e4) * height
        assert (np.abs(found - exact) <= 8 * np.spacing(np.float32(low))).all()


@every_row
def test_to_twelve_digits_in_float64(name):
    row = ROWS[name]
    with jax.enable_x64(True):
        traced = jax.jit(lambda schedule, steps: schedule(steps))
        for horizon in (HORIZONS[0], HORIZONS[-1]):
            steps = of_one_length(steps_to_try(horizon, 400))
            truth = np.asarray(row.truth(Longdouble, steps.astype(np.longdouble), horizon), float)
            values = np.asarray(traced(row.ours(horizon), jnp.asarray(steps, jnp.int32)))
            assert values.dtype == np.float64
            np.testing.assert_allclose(values, truth, rtol=1e-12, atol=1e-300)


def stairs(schedules, steps):
    """The stair that each of many schedules ``step_decay(1, every, 0.5)`` is on."""
    values = jax.jit(jax.vmap(lambda schedule, steps: schedule(steps)))(js.stack(schedules), steps)
    return np.round(-np.log2(np.asarray(values, np.float64)))


def test_no_whole_step_is_on_the_wrong_stair():
    """At the first and the last step of stairs 0 to 119, for every length to 400 and long ones."""
    lengths = [*range(1, 400), 5611, 10**6 + 1, 12_345_678]
    k = np.arange(120)
    steps = np.stack([np.concatenate([k * every, k * every + every - 1]) for every in lengths])
    found = stairs([js.step_decay(1.0, every, 0.5) for every in lengths], jnp.asarray(steps, jnp.int32))
    np.testing.assert_array_equal(found, np.broadcast_to([*k, *k], found.shape))
    for every in (41, 10**6 + 1):  # as constants, which XLA divides by in its own way
        schedule = jax.jit(js.step_decay(1.0, every, 0.5))
        values = schedule(jnp.asarray([41 * every - 1, 41 * every], jnp.int32))
        np.testing.assert_allclose(values, [0.5**40, 0.5**41], rtol=1e-6)


def test_no_step_is_on_the_wrong_stair_where_a_stair_is_not_whole():
    """As Python's own ``step // every``: 36 // 2.4 == 15 but 11 // 1.1 == 9."""
    lengths = [2.4, 1.1, 1.3, 33.3, 0.7, 7.0 + 1 / 3, 1000 / 3, 3.14159, 54321.1, 1e6 + 0.5]
    stair = np.arange(120)
    for every in lengths:
        near = np.unique(np.concatenate([np.floor(stair * every), np.ceil(stair * every)])).astype(np.int64)
        near = np.resize(near[near <= 120 * every], 256)
        expected = [int(step) // Fraction(every) for step in near]
        for schedule in (js.step_decay(1.0, every, 0.5), js.exponential(1.0, 0.5, every, staircase=True)):
            for values in (
                schedule(jnp.asarray(near, jnp.int32)),
                *([] if every != 2.4 else [jax.jit(schedule)(near)]),
            ):
                np.testing.assert_array_equal(np.round(-np.log2(np.asarray(values, np.float64))), expected)


def test_a_line_ends_at_its_end_and_never_below():
    """optax's ends at -1.4e-11 for 1000 steps: as constants XLA multiplies by a rounded reciprocal."""
    lengths = [*range(1, 300), 90_000, 10**7]
    steps = np.stack([np.clip(np.arange(-3, 4) + length, 0, LAST) for length in lengths])
    for schedules in ([js.linear(3e-4, 0.0, n) for n in lengths], [js.polynomial(3e-4, 0.0, n, 0.9) for n in lengths]):
        values = np.asarray(jax.jit(jax.vmap(lambda s, t: s(t)))(js.stack(schedules), jnp.asarray(steps, jnp.int32)))
        assert (values[:, 3:] == 0).all()
        assert (values[:, :3][steps[:, :3] < np.asarray(lengths)[:, None]] > 0).all()
    for length in (41, 1000):
        for schedule in (js.linear(3e-4, 0.0, length), js.polynomial(3e-4, 0.0, length, 0.9)):
            values = np.asarray(jax.jit(schedule)(jnp.arange(length + 5)))
            assert (values[:length] > 0).all()
            assert (values[length:] == 0).all()


@pytest.mark.parametrize("steps", [9.6, 33.25, 1e6 + 0.3, 100 * np.pi, 10.00001])
def test_lengths_that_are_not_whole(steps):
    """The last step before the end is as far from it as the length says."""
    last = int(steps)
    left = np.longdouble(float(Fraction(steps) - last)) / np.longdouble(steps)
    for schedule, truth in (
        (js.linear(0.5, 0.0, steps), 0.5 * left),
        (js.cosine(0.5, steps), 0.5 * np.sin(Longdouble.pi / 2 * left) ** 2),
        (js.polynomial(0.5, 0.0, steps, 0.5), 0.5 * np.sqrt(left)),
        (js.cooldown(0.5, 0, steps), 0.5 * left),
    ):
        # Where the length is not exactly a ratio of small integers, it is off by 2**-24 of itself at most.
        off = float(Fraction(steps) / 2**24 / (Fraction(steps) - last))
        assert float(abs(np.asarray(schedule(last), np.longdouble) / truth - 1)) < 1e-6 + 2 * off
        assert float(schedule(last + 1)) == 0


def test_rates_near_one_are_honoured():
    assert float(js.exponential(1.0, 1 - 1e-8)(10**8)) == pytest.approx(np.exp(-1), rel=1e-6)
    assert float(js.exponential(1.0, 1 - 1e-12)(LAST)) == pytest.approx(np.exp(LAST * np.log1p(-1e-12)), rel=1e-6)
    assert float(js.multi_step(1.0, (1,), 1 + 1e-7)(1)) == pytest.approx(1 + 1e-7, abs=1.2e-7)
    assert float(js.exponential(1.0, 0.0)(0)) == 1.0
    assert float(js.exponential(1.0, 0.0)(1)) == 0.0


@pytest.mark.parametrize(("steps", "stretch"), [(1, 2), (7, 3), (100, 10), (46341, 2), (1, 46341), (2**30, 2), (3, 1)])
def test_every_restart_is_found(steps, stretch):
    """The cycle by exact integers, at the first and last step of each up to 2**31."""
    begins, begin, length = [], 0, steps
    while begin <= LAST and len(begins) < 100:
        begins.append(begin)
        begin, length = begin + length, length * stretch
    near = np.unique(np.clip(np.asarray(begins)[:, None] + np.arange(-2, 3), 0, min(LAST, begin - 1)))
    expected = 0.5 ** (np.searchsorted(begins, near, side="right") - 1.0)
    schedule = js.cosine_restarts(1.0, steps, floor=0.0, stretch=stretch, decay=0.5)
    values = np.asarray(jax.jit(lambda schedule, steps: schedule(steps))(schedule, jnp.asarray(near, jnp.int32)))
    at_begin = np.isin(near, begins)
    np.testing.assert_allclose(values[at_begin], expected[at_begin], rtol=2.4e-7)  # of 0.5**n: 2 ulp
    assert (values <= expected * (1 + 1e-6)).all()


@pytest.mark.parametrize("steps", [2.4, 100 * np.pi, 1.00001, 1e6 + 0.3])
def test_lengths_that_are_not_whole_in_float64(steps):
    at = np.unique(np.linspace(0, steps + 2, 50).astype(np.int32))
    left = np.maximum(np.longdouble(steps) - at, 0) / np.longdouble(steps)
    with jax.enable_x64(True):
        np.testing.assert_allclose(js.linear(0.5, 0.0, steps)(at), np.float64(0.5 * left), rtol=1e-12, atol=1e-15)
        wave = np.float64(0.5 * np.sin(Longdouble.pi / 2 * left) ** 2)
        np.testing.assert_allclose(js.cosine(0.5, steps)(at), wave, rtol=1e-12, atol=1e-15)
        times = [int(step) // Fraction(steps) for step in at]
        np.testing.assert_allclose(js.step_decay(1.0, steps, 0.5)(at), 0.5 ** np.asarray(times, float), rtol=1e-12)


EXTREMES = {
    "restarts past their end": js.cosine_restarts(0.1, 5, decay=1.5, cycles=3),
    "restarts that would overflow": js.cosine_restarts(0.0, 5000, 1e-6, decay=1.5, cycles=400),
    "restarts, k": js.cosine_restarts(0.1, 5, decay=0.9, k=1.5),
    "restarts at once 0": js.cosine_restarts(0.1, 5, decay=0.0),
    "tanh from -50": js.schedules.tanh_decay(0.3, 10, 0.1, lower=-50.0),
    "tanh to 60": js.schedules.tanh_decay(0.3, 10, 0.1, lower=-50.0, upper=60.0),
    "a rate of 0": js.exponential(0.3, 0.0, 43912),
    "stairs of 0": js.step_decay(0.3, 2.5, 0.0),
    "a huge rate": js.schedules.inverse_power(0.3, 1e19, 3.5, 0.5),
    "a power of 50": js.polynomial(0.3, 0.0, 10.5, 50.0, 1.5),
    "a power near 0": js.polynomial(0.3, 0.0, 10, 0.05),
    "a root": js.warmup(js.cosine(0.3, 20), 5, 1e-9, shape="sqrt"),
    "from nearly 0": js.cooldown(0.3, 5, 5.5, 1e-30, shape="exponential"),
}


@pytest.mark.parametrize("schedule", EXTREMES.values(), ids=EXTREMES)
def test_values_and_gradients_are_finite_at_the_extremes(schedule):
    """For each of its numbers that is a float, at the ends, the joins, and far past them."""
    leaves, kind = jax.tree.flatten(schedule)
    floats = [i for i, leaf in enumerate(leaves) if isinstance(leaf, float)]

    def value(numbers, step):
        changed = dict(zip(floats, numbers, strict=True))
        return jax.tree.unflatten(kind, [changed.get(i, leaf) for i, leaf in enumerate(leaves)])(step)

    steps = jnp.asarray([0, 1, 3, 4, 5, 9, 10, 11, 15, 1000, 2_000_000, 2**24 + 1, LAST - 1, LAST], jnp.int32)
    numbers = [jnp.float32(leaves[i]) for i in floats]
    values, gradients = jax.jit(jax.vmap(jax.value_and_grad(value), (None, 0)))(numbers, steps)
    assert np.isfinite(values).all()
    assert (np.asarray(values) >= 0).all()
    assert not np.signbit(values).any()
    for gradient in gradients:
        assert np.isfinite(gradient).all()


def test_values_named_in_reports():
    """Each was wrong once: by 330 and 146 ulp, by 41 %, threefold, 0.03 for 0, NaN."""
    for schedule, step, expected in (
        (js.linear(1e30, 3e-4, 67906.84876531242), 67906, 1e30 * (1 - 67906 / 67906.84876531242)),
        (js.linear(10.0, 0.0, 12345.678), 12345, 10 * (1 - 12345 / 12345.678)),
        (js.inverse_sqrt(1e-12, 0.5), LAST, 1e-12 / np.sqrt(1 + LAST / 0.5)),
        (js.schedules.inverse_power(1.0, 1.0, 1, every=0.1), LAST, 1 / (1 + LAST / 0.1)),
        (js.exponential(0.3, 0.0, 43912), 1, 0.0),
        (js.exponential(1e30, 0.5), 200, 1e30 * 0.5**200),
        (js.cosine_restarts(0.0, 5000, 1e-6, decay=1.5), 2_000_000 + 2500, 5e-7),
    ):
        for found in (schedule(step), jax.jit(schedule)(step), jax.jit(lambda s, t: s(t))(schedule, step)):
            np.testing.assert_allclose(float(found), expected, rtol=5e-7)


def test_a_schedule_made_before_float64_is_enabled_has_its_digits():
    made = [make() for make in (lambda: js.linear(10.0, 0.0, 12345.678), lambda: js.exponential(1.0, 0.7, 33.3))]
    with jax.enable_x64(True):
        for schedule, expected in zip(made, (10 * (1 - 12345 / 12345.678), 0.7 ** (12345 / 33.3)), strict=True):
            np.testing.assert_allclose(float(jax.jit(lambda s, t: s(t))(schedule, 12345)), expected, rtol=1e-11)
            np.testing.assert_allclose(float(schedule(12345)), expected, rtol=1e-11)


def test_a_length_too_short_to_divide_by_is_refused():
    with pytest.raises(ValueError, match="steps must be at least 1e-06 of a step, got 1e-300"):
        js.cosine(0.1, 1e-300)
