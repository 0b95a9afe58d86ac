"""A line search to the strong Wolfe conditions, as torch's L-BFGS makes it: bracket a good step, then zoom in."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

DECREASE, CURVATURE = 1e-4, 0.9


class Point(NamedTuple):
    """A function at a point: its value, float [], and its gradient, float [n]."""

    value: jax.Array
    slope: jax.Array


class _Trial(NamedTuple):
    """A step's length, the function there, and the slope along the direction."""

    length: jax.Array
    point: Point
    along: jax.Array


class _Search(NamedTuple):
    left: _Trial
    """While bracketing the trial before, then one end."""
    right: _Trial
    """While bracketing the newest trial, then the other end."""
    iterations: jax.Array
    done: jax.Array
    """Whether a step was found."""
    bracketed: jax.Array
    low_is_left: jax.Array
    slow: jax.Array
    """Whether the last trial was near an end of the bracket."""
    narrow: jax.Array
    """Whether the bracket is too small to go on."""


def strong_wolfe(
    evaluate: Callable[[jax.Array], Point],
    at: jax.Array,
    direction: jax.Array,
    length: jax.Array,
    here: Point,
    descent: jax.Array,
    tolerance: float,
    budget: jax.Array,
) -> tuple[jax.Array, Point, jax.Array]:
    """A step length ``t`` that satisfies the strong Wolfe conditions.

    ``f(t) <= f(0) + 1e-4 * t * f'(0)`` and ``|f'(t)| <= 0.9 * |f'(0)|``.

    Args:
        evaluate: The function.
        at: The point that the step starts from.
        direction: The search direction.
        length: The first step length to try.
        here: The value and gradient at ``at``.
        descent: The slope at ``at`` along the direction, < 0.
        tolerance: The bracket, times the largest entry of the direction, below which it is not divided.
        budget: Iterations, at most; each evaluates once, and once more is evaluated before.

    Returns:
        The length, the function there, and the number of evaluations.
    """

    def trial(length: jax.Array) -> _Trial:
        point = evaluate(at + length * direction)
        return _Trial(length, point, point.slope @ direction)

    def too_high(t: _Trial) -> jax.Array:
        return t.point.value > here.value + DECREASE * t.length * descent

    def flat_enough(t: _Trial) -> jax.Array:
        return jnp.abs(t.along) <= -CURVATURE * descent

    origin = _Trial(jnp.zeros_like(length), here, descent)
    false = jnp.zeros((), bool)
    state = _Search(origin, trial(length), jnp.zeros((), jnp.int32), false, false, false, false, false)

    def widen(s: _Search) -> _Search:
        before, now = s.left, s.right
        rises = too_high(now) | ((s.iterations > 1) & (now.point.value >= before.point.value))
        found = ~rises & flat_enough(now)
        turned = ~rises & ~found & (now.along >= 0)

        def further() -> _Search:
            bounds = now.length + 0.01 * (now.length - before.length), now.length * 10
            return s._replace(left=now, right=trial(_cubic_minimum(before, now, *bounds)), iterations=s.iterations + 1)

        def stop() -> _Search:
            return s._replace(left=_where(found, now, before), done=found, bracketed=~found)

        return jax.lax.cond(rises | found | turned, stop, further)

    state = jax.lax.while_loop(lambda s: ~s.done & ~s.bracketed & (s.iterations < budget), widen, state)
    # out of iterations: from the start to the newest
    exhausted = ~state.done & ~state.bracketed
    state = state._replace(left=_where(exhausted, origin, state.left))
    state = state._replace(low_is_left=state.left.point.value <= state.right.point.value)
    width = jnp.max(jnp.abs(direction))

    def narrow(s: _Search) -> _Search:
        left, right = s.left, s.right
        least, most = jnp.minimum(left.length, right.length), jnp.maximum(left.length, right.length)

        def divide() -> _Search:
            length = _cubic_minimum(left, right, least, most)
            margin = 0.1 * (most - least)
            near = jnp.minimum(most - length, length - least) < margin
            push = near & (s.slow | (length >= most) | (length <= least))
            to_most = jnp.abs(length - most) < jnp.abs(length - least)
            length = jnp.where(push, jnp.where(to_most, most - margin, least + margin), length)
            new = trial(length)
            low, high = _where(s.low_is_left, left, right), _where(s.low_is_left, right, left)
            worse = too_high(new) | (new.point.value >= low.point.value)
            found = ~worse & flat_enough(new)
            # the newest becomes an end: the high one where it is worse, the low one where it is better
            flip = ~worse & ~found & (new.along * (high.length - low.length) >= 0)
            high = _where(worse, new, _where(flip, low, high))
            low = _where(worse, low, new)
            new_left, new_right = _where(s.low_is_left, low, high), _where(s.low_is_left, high, low)
            return s._replace(
                left=new_left,
                right=new_right,
                low_is_left=jnp.where(worse, new_left.point.value <= new_right.point.value, s.low_is_left),
                iterations=s.iterations + 1,
                done=found,
                slow=near & ~push,
            )

        too_small = (most - least) * width < tolerance
        return jax.lax.cond(too_small, lambda: s._replace(narrow=~s.narrow), divide)

    state = jax.lax.while_loop(lambda s: ~s.done & ~s.narrow & (s.iterations < budget), narrow, state)
    best = _where(state.low_is_left, state.left, state.right)
    return best.length, best.point, state.iterations + 1


def _where(condition: jax.Array, yes: _Trial, no: _Trial) -> _Trial:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), yes, no)


def _cubic_minimum(a: _Trial, b: _Trial, least: jax.Array, most: jax.Array) -> jax.Array:
    """Where the cubic through two trials has its minimum, within bounds; the middle of these where it has none."""
    swap = a.length > b.length
    first, second = _where(swap, b, a), _where(swap, a, b)
    # the formula is symmetric but for rounding
    mean = a.along + b.along - 3 * (a.point.value - b.point.value) / (a.length - b.length)
    square = mean**2 - a.along * b.along
    root = jnp.sqrt(jnp.maximum(square, 0))
    share = (second.along + root - mean) / (second.along - first.along + 2 * root)
    minimum = second.length - (second.length - first.length) * share
    return jnp.where(square >= 0, jnp.minimum(jnp.maximum(minimum, least), most), (least + most) / 2)
