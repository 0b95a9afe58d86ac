"""What holds for any numbers: bounds, monotony, continuity at the joins."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxsched as js

evaluate = jax.jit(lambda schedule, steps: schedule(steps))  # one compilation for all numbers of a kind
rates = st.floats(1e-6, 10.0)
lengths = st.integers(1, 10**9)
few = settings(max_examples=40, deadline=None)
EPS = 1e-6


def curve(schedule, *joins):
    """The values from 0 to past the end of all, and on both sides of each join."""
    spread = np.linspace(0, max(joins), 40).astype(np.int64)
    steps = np.concatenate([spread, *(np.arange(-2, 3) + join for join in joins), [2**31 - 1]])
    steps = np.resize(np.sort(np.clip(steps, 0, 2**31 - 1)), 64)  # of one shape, so that one compilation does
    return np.asarray(evaluate(schedule, jnp.asarray(np.sort(steps), jnp.int32)), float)


def monotone(values, slack):
    falls = np.diff(values)
    return (falls <= slack).all() or (falls >= -slack).all()


@few
@given(rates, rates, lengths, st.sampled_from(["linear", "cosine", "polynomial", "tanh"]), st.floats(0.2, 4))
def test_from_one_value_to_another(start, end, steps, kind, power):
    """Between the two, monotone, ``start`` at 0, ``end`` from ``steps`` on."""
    schedule = {
        "linear": lambda: js.linear(start, end, steps),
        "cosine": lambda: js.cosine(start, steps, end),
        "polynomial": lambda: js.polynomial(start, end, steps, jnp.float32(power)),
        "tanh": lambda: js.schedules.tanh_decay(start, steps, end),
    }[kind]()
    low, high = min(start, end), max(start, end)
    values = curve(schedule, steps)
    assert (values >= low * (1 - EPS)).all()
    assert (values <= high * (1 + EPS)).all()
    assert monotone(values, EPS * high)
    assert float(schedule(steps)) == np.float32(end)


@few
@given(rates, rates, lengths, lengths, st.sampled_from(["linear", "cosine", "quadratic", "sqrt", "exponential"]))
def test_warm_up_and_cooldown_join_without_a_jump(peak, floor, warm, cool, shape):
    """The step before a join differs from the join by no more than the steepest step of the shape."""
    schedule = js.warmup_stable_decay(peak, warm, 10, cool, floor, floor, shape, shape)
    joins = warm, warm + 10
    for join, length in zip(joins, (warm, cool), strict=True):
        before, at, after = (float(evaluate(schedule, jnp.int32(join + i))) for i in (-1, 0, 1))
        assert at == np.float32(peak)
        largest = abs(peak - floor) + max(peak, floor) * abs(np.log(peak / floor))
        steepest = {"sqrt": length**-0.5}.get(shape, 2 / length)
        inside = after if join == joins[1] else before
        assert abs(inside - at) <= largest * steepest * 1.01 + EPS * max(peak, floor)
    values = curve(schedule, *joins, warm + 10 + cool)
    assert (values >= min(peak, floor) * (1 - EPS)).all()
    assert (values <= max(peak, floor) * (1 + EPS)).all()


@few
@given(rates, lengths, st.integers(1, 9), st.floats(0.1, 1.0))
def test_restarts_stay_below_their_peak_and_above_0(peak, steps, stretch, decay):
    schedule = js.cosine_restarts(peak, steps, stretch=stretch, decay=jnp.float32(decay))
    values = curve(schedule, steps, min(steps * (1 + stretch), 2**31 - 9))
    assert (values >= 0).all()
    assert (values <= peak * (1 + EPS)).all()
    second = float(evaluate(schedule, jnp.int32(steps)))
    np.testing.assert_allclose(second, peak * np.float32(decay), rtol=EPS)


@few
@given(rates, rates, st.integers(1, 10**8), st.integers(1, 10**8), st.integers(0, 5))
def test_cycles_repeat(low, high, up, down, cycle):
    schedule = js.cyclic(low, high, up, down)
    begin = cycle * (up + down)
    steps = np.asarray([0, up // 2, up, up + down // 2, up + down])
    once, again = (np.asarray(evaluate(schedule, jnp.asarray(steps + shift, jnp.int32))) for shift in (0, begin))
    np.testing.assert_array_equal(once, again)
    assert once[0] == np.float32(low)
    assert once[2] == np.float32(high)


@few
@given(rates, st.floats(0.0, 1.0), st.integers(1, 10**6), st.integers(0, 2**31 - 1))
def test_stairs_fall_where_the_length_says(start, factor, every, step):
    """``step_decay`` at ``step`` is the staircase of `exponential`, and that of the first step of its stair."""
    stairs = js.step_decay(start, every, factor)
    value = float(evaluate(stairs, jnp.int32(step)))
    assert value == float(evaluate(stairs, jnp.int32(step // every * every)))
    assert value == float(evaluate(js.exponential(start, factor, every, staircase=True), jnp.int32(step)))
    assert 0 <= value <= np.float32(start)
