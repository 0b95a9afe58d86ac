"""Warm-up, cooldown and what is made of them, by values worked by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxsched as js

LINE = js.linear(1.0, 0.0, 8)
ROOT = 0.5**0.5
STEPS = jnp.arange(10)
EXACT = {
    "linear": (js.warmup(1.0, 4), [0, 0.25, 0.5, 0.75, 1, 1]),
    "from a start": (js.warmup(1.0, 2, 0.5), [0.5, 0.75, 1, 1]),
    "downwards": (js.warmup(0.5, 2, 1.0), [1, 0.75, 0.5, 0.5]),
    "the clock runs on": (js.warmup(LINE, 2), [0, 0.4375, 0.75, 0.625]),
    "by ratio": (js.warmup(LINE, 2, 0.5 * LINE), [0.5, 0.65625, 0.75, 0.625]),
    "constant": (js.warmup(LINE, 2, 0.125, "constant"), [0.125, 0.125, 0.75, 0.625]),
    "exponential": (js.warmup(4.0, 4, 0.25, "exponential"), [0.25, 0.5, 1, 2, 4, 4]),
    "quadratic": (js.warmup(1.0, 4, 0.0, "quadratic"), [0, 1 / 16, 1 / 4, 9 / 16, 1, 1]),
    "quadratic from a start": (js.warmup(2.0, 2, 1.0, "quadratic"), [1, 1.25, 2]),
    "cosine": (js.warmup(1.0, 4, 0.0, "cosine"), [0, (1 - ROOT) / 2, 0.5, (1 + ROOT) / 2, 1]),
    "sqrt": (js.warmup(1.0, 4, 0.0, "sqrt"), [0, 0.5, ROOT, 0.75**0.5, 1]),
    "not whole": (js.warmup(1.0, 2.5), [0, 0.4, 0.8, 1]),
    "cooldown": (js.cooldown(1.0, 1, 4), [1, 1, 0.75, 0.5, 0.25, 0, 0]),
    "cooldown while it runs on": (js.cooldown(LINE, 2, 2, 0.5), [1, 0.875, 0.75, 0.5625, 0.5, 0.5]),
    "cooldown, constant": (js.cooldown(1.0, 1, 2, 0.5, "constant"), [1, 1, 1, 0.5]),
    "cooldown, quadratic": (js.cooldown(1.0, 0, 2, 0.0, "quadratic"), [1, 0.75, 0]),
    "cooldown, sqrt": (js.cooldown(1.0, 0, 4, 0.0, "sqrt"), [1, 0.5, 1 - ROOT, 1 - 0.75**0.5, 0]),
    "cooldown, exponential": (js.cooldown(1.0, 0, 2, 0.25, "exponential"), [1, 0.5, 0.25]),
    "cooldown, cosine": (js.cooldown(1.0, 0, 2, 0.0, "cosine"), [1, 0.5, 0]),
    "warm-up, stable, decay": (js.warmup_stable_decay(1.0, 2, 2, 2), [0, 0.5, 1, 1, 1, 0.5, 0, 0]),
    "no stable": (js.warmup_stable_decay(1.0, 2, 0, 2, 0.5, 0.25), [0.5, 0.75, 1, 0.625, 0.25, 0.25]),
}


@pytest.mark.parametrize(("schedule", "expected"), EXACT.values(), ids=EXACT)
def test_by_hand(schedule, expected):
    np.testing.assert_allclose(np.asarray(schedule(STEPS))[: len(expected)], expected, rtol=5e-7, atol=0)


def test_a_schedule_that_reaches_0_can_be_approached_exponentially():
    """0 ** t is 0, not NaN."""
    schedule = js.warmup(js.linear(1.0, 0.0, 2), 4, 0.5, "exponential")
    np.testing.assert_allclose(schedule(jnp.arange(5)), [0.5, 0.5**0.75 * 0.5**0.25, 0, 0, 0], rtol=3e-7)
