"""Bad arguments: an error where the schedule is made, with its name, the field, the value and the remedy."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsched as js

BAD = {
    "no steps": (lambda: js.cosine(0.1, 0), ValueError, "cosine: steps must be a positive number of steps, got 0"),
    "negative steps": (lambda: js.linear(0.1, 0.0, -5), ValueError, "linear: steps must be .*positive.*-5"),
    "endless": (lambda: js.cosine(0.1, float("inf")), ValueError, "cosine: steps must be finite, got inf"),
    "too long": (lambda: js.polynomial(0.1, 0.0, 2**31), ValueError, r"steps must be below 2\*\*31"),
    "a text": (lambda: js.cosine("0.1", 10), TypeError, r"peak must be a number, got the string '0.1'; convert it"),
    "None": (lambda: js.cosine(None, 10), TypeError, "peak must be a number, got None"),
    "a bool": (lambda: js.cosine(True, 10), TypeError, "peak must be a number, got True"),
    "beyond float32": (
        lambda: js.constant(1e39),
        ValueError,
        r"constant: value must be at most 3.4e\+38, the largest float32, got 1e\+39",
    ),
    "not finite": (lambda: js.constant(float("nan")), ValueError, "constant: value must be finite, got nan"),
    "power 0": (lambda: js.polynomial(0.1, 0.0, 10, power=0), ValueError, "polynomial: power must be positive, got 0"),
    "k 0": (lambda: js.cosine(0.1, 10, k=0.0), ValueError, "cosine: k must be positive, got 0.0"),
    "negative rate": (lambda: js.exponential(0.1, -0.5), ValueError, "exponential: rate must be >= 0, got -0.5"),
    "a rate of 0": (lambda: js.inverse_time(0.1, 0.0), ValueError, "inverse_time: rate must be positive, got 0.0"),
    "unsorted": (lambda: js.multi_step(0.1, (60, 30)), ValueError, r"at must ascend, got \(60, 30\); write \(30, 60\)"),
    "half a milestone": (
        lambda: js.multi_step(0.1, (1.5,)),
        ValueError,
        r"at\[0\] must be a whole number >= 0, got 1.5",
    ),
    "negative milestone": (lambda: js.piecewise([1, 2], at=[-1]), ValueError, r"at\[0\] must be a whole number >= 0"),
    "one milestone": (lambda: js.multi_step(0.1, 30), TypeError, r"at must be a sequence of steps such as \(30, 60\)"),
    "too few parts": (
        lambda: js.sequential([1.0], at=[5]),
        ValueError,
        r"1 schedules need 0 milestones, got at=\(5,\)",
    ),
    "too few values": (lambda: js.piecewise([1.0], at=[5]), ValueError, r"1 values need 0 milestones"),
    "no parts": (lambda: js.sequential([], at=[]), TypeError, "schedules must be a sequence of schedules"),
    "a part that is a text": (lambda: js.piecewise(["a", 1], at=[5]), TypeError, r"values\[0\] must be a number"),
    "half a step of restarts": (lambda: js.cosine_restarts(0.1, 1.5), ValueError, "steps must be a whole number.*1.5"),
    "half a stretch": (lambda: js.cosine_restarts(0.1, 5, stretch=1.5), ValueError, "stretch must be a whole number"),
    "no stretch": (
        lambda: js.cosine_restarts(0.1, 5, stretch=0),
        ValueError,
        "stretch must be a whole number >= 1",
    ),
    "no cycles": (
        lambda: js.cosine_restarts(0.1, 5, cycles=0),
        ValueError,
        "cycles must be a whole number >= 1",
    ),
    "growing backwards": (lambda: js.cosine_restarts(0.1, 5, decay=-1), ValueError, "decay must be >= 0, got -1"),
    "all flat": (
        lambda: js.schedules.flat_then_cosine(0.1, 5, 5),
        ValueError,
        "flat_then_cosine: flat must be below steps=5, got 5",
    ),
    "no rise": (lambda: js.cyclic(0.0, 1.0, 0), ValueError, "cyclic: up must be a positive number"),
    "half a rise": (lambda: js.cyclic(0.0, 1.0, 2.5), ValueError, "cyclic: up must be a whole number"),
    "only rise": (lambda: js.one_cycle(1.0, 10, up=10), ValueError, "one_cycle: up must be below steps, got up=10"),
    "three phases": (
        lambda: js.one_cycle(1.0, 10, up=5, three_phase=True),
        ValueError,
        "one_cycle: up must be below half of steps, got up=5 of steps=10",
    ),
    "too short": (lambda: js.one_cycle(1.0, 3), ValueError, "one_cycle: steps=3 is too short .* pass up="),
    "unknown shape": (lambda: js.one_cycle(1.0, 9, shape="cos"), ValueError, "shape must be one of 'cosine', 'linear'"),
    "unknown warm-up": (
        lambda: js.warmup(1.0, 5, shape="exp"),
        ValueError,
        "warmup: shape must be one of .*, got 'exp'",
    ),
    "no warm-up": (lambda: js.warmup(1.0, 0), ValueError, "warmup: steps must be a positive number of steps, got 0"),
    "from 0, exponentially": (
        lambda: js.warmup(1.0, 5, shape="exponential"),
        ValueError,
        "warmup: start must be positive for shape='exponential', got 0.0",
    ),
    "to 0, exponentially": (
        lambda: js.cooldown(1.0, 5, 5, shape="exponential"),
        ValueError,
        "cooldown: end must be positive for shape='exponential', got 0.0",
    ),
    "a negative begin": (
        lambda: js.cooldown(1.0, -5, 5),
        ValueError,
        "cooldown: at must be a whole number >= 0, got -5",
    ),
    "no stable": (lambda: js.warmup_stable_decay(1.0, 5, -1, 5), ValueError, "warmup_stable_decay: stable must be"),
    "tangents the wrong way": (
        lambda: js.schedules.tanh_decay(1.0, 5, lower=3.0),
        ValueError,
        "lower must be below upper=3.0, got 3.0",
    ),
    "no epoch": (lambda: js.per_epoch(js.constant(1.0), 0), ValueError, "per_epoch: steps_per_epoch must be"),
    "half an epoch": (
        lambda: js.per_epoch(js.constant(1.0), 2.5),
        ValueError,
        "steps_per_epoch must be a whole number",
    ),
    "early": (lambda: js.schedules.delayed(1.0, -1), ValueError, "delayed: by must be a whole number >= 0, got -1"),
    "no values": (lambda: js.table([]), ValueError, "values must be a sequence of numbers"),
    "a value that is NaN": (lambda: js.table([1.0, np.nan]), ValueError, r"values\[1\] must be finite, got"),
    "no function": (lambda: js.from_function(3.0), TypeError, "function must be a function, got 3.0"),
    "no steps of a table": (lambda: js.tabulate(float, 0), ValueError, "tabulate: steps must be a positive number"),
    "stairs by number": (lambda: js.exponential(1.0, 0.5, staircase=1), TypeError, "staircase must be a bool, got 1"),
    "one too many": (lambda: js.constant(1.0, 2.0), TypeError, r"constant: too many positional arguments"),
    "misspelt": (
        lambda: js.cosine(0.1, 10, flor=0.1),
        TypeError,
        r"cosine: there is no argument 'flor'; did you mean 'floor'\? It is called as cosine\(peak, steps, floor=0.0",
    ),
}


@pytest.mark.parametrize(("make", "kind", "message"), BAD.values(), ids=BAD)
def test_a_bad_argument_is_an_error_with_field_value_and_remedy(make, kind, message):
    with pytest.raises(kind, match=message):
        make()


def test_harmless_arguments_are_taken():
    assert js.cosine(np.float32(0.5), np.int64(10)) == js.cosine(0.5, 10)
    assert js.cosine(0.5, 10.0).arguments["steps"] == 10
    assert js.cosine(np.asarray(0.5), jnp.asarray(10)) == js.cosine(0.5, 10)
    assert js.multi_step(1.0, np.asarray([3, 5])) == js.multi_step(1.0, [3.0, 5.0])
    assert float(js.linear(0.0, -1.0, 4)(4)) == -1.0
    assert float(js.cosine(0.1, 10, floor=0.2)(10)) == pytest.approx(0.2)
    assert js.multi_step(0.5, ())(7) == 0.5
    assert float(js.multi_step(1.0, (0, 3, 3), 0.5)(0)) == 0.5


def test_a_traced_argument_passes_unchecked():
    """A compiled program has no values to check: a tracer must not be asked for one."""
    made = jax.jit(lambda peak, steps: js.warmup(js.cosine(peak, steps), steps // 2, 0.1 * peak)(jnp.arange(4)))
    np.testing.assert_allclose(made(1.0, 4), [0.1, 0.476777, 0.5, 0.146447], rtol=1e-5)


PROGRAM = """
import jax.numpy as jnp
import jaxsched as js

lr: js.Schedule = js.warmup(js.cosine(0.1, steps=100, floor=0.01), steps=10, start=0.0)
value = (0.5 * lr)(jnp.arange(3))
js.cosine(0.1, stepz=100)  # wrong
js.one_cycle(0.1, 100, shape=3)  # wrong
js.cosine(0.1, "100")  # wrong
js.schedules.flat_then_cosine(0.1, 100)  # wrong
js.cosin(0.1, 100)  # wrong
"""


@pytest.mark.slow
def test_a_type_checker_sees_wrong_arguments(tmp_path):
    pytest.importorskip("mypy")
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    command = [sys.executable, "-m", "mypy", "--follow-imports=silent", "--cache-dir", str(tmp_path / "cache")]
    done = subprocess.run([*command, str(program)], capture_output=True, text=True, check=False)
    found = {line.split(":")[1] for line in done.stdout.splitlines() if ": error:" in line}
    wrong = {str(i) for i, line in enumerate(PROGRAM.splitlines(), start=1) if "# wrong" in line}
    assert found == wrong, done.stdout + done.stderr


@pytest.mark.parametrize(
    "step", [0.5, True, "3", None, 1j, float("nan"), np.ones(2) / 2, jnp.asarray(True), jnp.asarray(1j)]
)
def test_what_is_no_step(step):
    with pytest.raises(TypeError, match="a step is a whole number, counted from 0; got"):
        js.constant(0.1)(step)
