"""L-BFGS: a quasi-Newton method for full batches, several iterations per update."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike

from jaxsched.groups import JoinedTree
from jaxsched.numerics import as_step, compute_dtype, replicate, reshard_like, takes_shapes
from jaxsched.optimizers._checks import check_kind
from jaxsched.optimizers._hyperparameters import NonNegative, PositiveCount
from jaxsched.optimizers._optimizer import checked_arguments
from jaxsched.optimizers._reset import counted, restarted
from jaxsched.optimizers._state import OptimizerState
from jaxsched.optimizers._strong_wolfe import Point, strong_wolfe
from jaxsched.schedules import value_at

GROUP = "all"


@checked_arguments
def lbfgs(
    lr: NonNegative = 1.0,
    max_iter: PositiveCount = 20,
    max_eval: PositiveCount | None = None,
    tolerance_grad: float = 1e-7,
    tolerance_change: float = 1e-9,
    history_size: PositiveCount = 100,
    line_search_fn: Literal["strong_wolfe"] | None = None,
) -> optax.GradientTransformationExtraArgs:
    """L-BFGS, as ``torch.optim.LBFGS``: up to ``max_iter`` iterations in each update.

    In the k-th iteration, from 1, with the gradient g and the estimate H of the inverse Hessian::

        d = -H @ g
        t = lr * min(1, 1 / sum(abs(g))) if k == 1 else lr
        p = p + t * d

    H comes from the last ``history_size`` pairs of ``s = t * d`` and y, the change of the gradient, with
    ``y @ s > 1e-10``, by the two-loop recursion, starting from ``(s @ y) / (y @ y)`` of the newest. An update ends
    after ``max_iter`` iterations or ``max_eval`` evaluations, where ``max(abs(g)) <= tolerance_grad``, and where
    ``-g @ d``, ``max(abs(t * d))`` or the change of the value falls to ``tolerance_change``.

    ``update(gradient, state, params, value=..., grad=..., value_fn=...)`` takes optax's extra arguments, as
    ``optax.lbfgs`` does: the value and gradient at ``params`` and the function, of the parameters alone, that returns
    the value. There is one group, named "all", as torch has. The gradient of complex parameters is, as torch's, the
    conjugate of what ``jax.grad`` returns.

    Args:
        lr: Learning rate, >= 0.
        max_iter: Iterations per update, at most.
        max_eval: Evaluations per update, at most; None: 1.25 times ``max_iter``.
        tolerance_grad: The largest entry of the gradient at which an update ends.
        tolerance_change: The change of the value or of a parameter at which an update ends.
        history_size: Pairs that are kept.
        line_search_fn: None, or "strong_wolfe". That needs evaluations: with ``max_iter=1`` give a ``max_eval`` of 25,
            or each step that does not lower the value is not made, as in torch.

    Returns:
        An optax transformation. With ``max_iter=1`` and no line search equal to ``optax.lbfgs(lr, 100,
        linesearch=None)`` but for the first step, which optax divides by the gradient's norm.

    Raises:
        ValueError: If a number is out of its range, or ``value`` or ``value_fn`` is missing.
        TypeError: If an argument is not known or of the wrong type, or a parameter is an integer.

    Source: ``torch/optim/lbfgs.py``, torch 2.13.0. Its ``step`` evaluates first; here ``value`` and ``grad`` are that.

    Examples:
        >>> import jax, jax.numpy as jnp, jaxsched as js, optax
        >>> def rosenbrock(p):
        ...     return (1 - p[0]) ** 2 + 100 * (p[1] - p[0] ** 2) ** 2
        >>> tx = js.lbfgs(max_iter=60, line_search_fn="strong_wolfe")
        >>> params = jnp.array([-1.2, 1.0])
        >>> value, grad = jax.value_and_grad(rosenbrock)(params)
        >>> updates, state = tx.update(grad, tx.init(params), params, value=value, grad=grad, value_fn=rosenbrock)
        >>> bool(jnp.allclose(optax.apply_updates(params, updates), 1.0, atol=1e-3))
        True
    """
    max_eval = max_iter * 5 // 4 if max_eval is None else max_eval

    def init(params: Any) -> OptimizerState:
        if isinstance(params, JoinedTree):
            raise ValueError("lbfgs: it flattens the parameters itself: leave out flatten_groups")
        flat = _flat(params)
        slots = _Memory(
            gradient=jnp.zeros_like(flat),
            move=jnp.zeros_like(flat),
            changes=jnp.zeros((history_size, flat.size), flat.dtype),
            moves=jnp.zeros((history_size, flat.size), flat.dtype),
            kept=jnp.zeros((), jnp.int32),
            scale=jnp.ones((), flat.dtype),
            iterations=jnp.zeros((), jnp.int32),
        )
        rate = value_at(lr, 0).astype(flat.dtype)[None]
        count, bias_offset = jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32)
        return OptimizerState(count, {GROUP: ()}, {"lr": rate}, {}, slots._asdict(), {}, bias_offset)

    def update(
        updates: Any,
        state: Any,
        params: Any = None,
        *,
        value: ArrayLike | None = None,
        grad: Any = None,
        value_fn: Callable[..., Any] | None = None,
        step: ArrayLike | None = None,
        **extra: Any,
    ) -> tuple[Any, OptimizerState]:
        del extra
        if params is None or value is None or value_fn is None:
            raise ValueError(
                "lbfgs: update needs tx.update(gradients, state, params, value=..., grad=..., value_fn=...), with the "
                "function of the parameters and its value and gradient at params"
            )
        check_kind("lbfgs", state, OptimizerState)
        if jnp.ndim(state.bias_offset):
            state = restarted(state, init(params), dict.fromkeys(state.slots, GROUP))
        start = _flat(params)
        rate = value_at(lr, state.count if step is None else as_step(step)).astype(start.dtype)

        def evaluate(flat: jax.Array) -> Point:
            found, slope = jax.value_and_grad(lambda x: jnp.asarray(value_fn(_like(params, x)), x.dtype))(flat)
            return Point(found, slope)

        first = Point(jnp.asarray(value, start.dtype), _flat(updates if grad is None else grad).astype(start.dtype))
        memory = _Memory(**state.slots)
        carry = _Carry(memory, start, first, jnp.ones((), jnp.int32), jnp.zeros((), jnp.int32), jnp.zeros((), bool))
        carry = carry._replace(done=jnp.max(jnp.abs(first.slope)) <= tolerance_grad)

        def iterate(carry: _Carry) -> _Carry:
            memory, at, here = _remember(carry.memory, carry.here.slope), carry.at, carry.here
            initial = memory.iterations == 1
            direction = _direction(memory, here.slope)
            length = jnp.where(initial, jnp.minimum(1.0, 1.0 / jnp.sum(jnp.abs(here.slope))) * rate, rate)
            descent = here.slope @ direction
            stuck = descent > -tolerance_change
            last = carry.iterations + 1 == max_iter

            def search() -> tuple[jax.Array, Point, jax.Array]:
                if line_search_fn:
                    budget = max_eval - carry.evaluations
                    return strong_wolfe(evaluate, at, direction, length, here, descent, tolerance_change, budget)
                # the last iteration is not evaluated: the next update begins with that
                there = jax.lax.cond(last, lambda: here, lambda: evaluate(at + length * direction))
                return length, there, 1 - last.astype(jnp.int32)

            nowhere = (length, here, jnp.zeros((), jnp.int32))
            length, there, evaluated = jax.lax.cond(stuck, lambda: nowhere, search)
            evaluations = carry.evaluations + evaluated
            move = length * direction
            done = (
                stuck
                | last
                | (evaluations >= max_eval)
                | (jnp.max(jnp.abs(there.slope)) <= tolerance_grad)
                | (jnp.max(jnp.abs(move)) <= tolerance_change)
                | (jnp.abs(there.value - here.value) < tolerance_change)
            )
            at = jnp.where(stuck, at, at + move)
            return _Carry(memory._replace(move=move), at, there, evaluations, carry.iterations + 1, done)

        carry = jax.lax.while_loop(lambda carry: ~carry.done, iterate, carry)
        new_state = counted(state)._replace(hyperparams={"lr": rate[None]}, slots=carry.memory._asdict())
        return _like(params, carry.at - start), new_state

    return optax.GradientTransformationExtraArgs(takes_shapes(init), update)


class _Memory(NamedTuple):
    """What is kept from iteration to iteration, of all n parameters as one vector.

    Attributes:
        gradient: At the last iteration; float [n].
        move: What the last iteration added; float [n].
        changes: Of the gradient, the newest last; float [history_size, n].
        moves: Of the parameters, beside ``changes``; float [history_size, n].
        kept: How many of them there are; int32 [].
        scale: Of the first guess of the inverse Hessian; float [].
        iterations: So far; int32 [].
    """

    gradient: jax.Array
    move: jax.Array
    changes: jax.Array
    moves: jax.Array
    kept: jax.Array
    scale: jax.Array
    iterations: jax.Array


class _Carry(NamedTuple):
    memory: _Memory
    at: jax.Array
    here: Point
    evaluations: jax.Array
    iterations: jax.Array
    done: jax.Array


def _flat(tree: Any) -> jax.Array:
    """All entries as one vector, in float32 at least; a complex one as its real and its imaginary part."""
    for leaf in jax.tree.leaves(tree):
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.inexact):
            raise TypeError(f"lbfgs: only floating parameters can be trained, got {jnp.result_type(leaf)}")

    def real_parts(leaf: Any) -> jax.Array:
        wide = replicate(jnp.asarray(leaf).astype(compute_dtype(leaf)))
        return jnp.stack([wide.real, wide.imag], -1) if jnp.iscomplexobj(wide) else wide

    return ravel_pytree(jax.tree.map(real_parts, tree))[0]


def _like(tree: Any, flat: jax.Array) -> Any:
    """The vector as a tree, in its shapes, dtypes and shardings."""
    leaves, structure = jax.tree.flatten(tree)
    sizes = [jnp.size(leaf) * (2 if jnp.iscomplexobj(leaf) else 1) for leaf in leaves]

    def shaped(part: jax.Array, leaf: Any) -> jax.Array:
        if jnp.iscomplexobj(leaf):
            part = jax.lax.complex(*part.reshape(-1, 2).T)
        return reshard_like(part.reshape(jnp.shape(leaf)).astype(jnp.result_type(leaf)), leaf)

    parts = jnp.split(flat, np.cumsum(sizes)[:-1])
    return jax.tree.unflatten(structure, list(map(shaped, parts, leaves)))


def _remember(memory: _Memory, gradient: jax.Array) -> _Memory:
    """The memory with the pair of the last iteration, if it has curvature, and the gradient here."""
    change, move = gradient - memory.gradient, memory.move
    curvature = change @ move
    usable = (memory.iterations > 0) & (curvature > 1e-10)

    def pushed(rows: jax.Array, row: jax.Array) -> jax.Array:
        return jnp.where(usable, jnp.concatenate([rows[1:], row[None]]), rows)

    return _Memory(
        gradient=gradient,
        move=move,
        changes=pushed(memory.changes, change),
        moves=pushed(memory.moves, move),
        kept=jnp.where(usable, jnp.minimum(memory.kept + 1, len(memory.moves)), memory.kept),
        scale=jnp.where(usable, curvature / (change @ change), memory.scale),
        iterations=jnp.asarray(optax.safe_increment(memory.iterations)),
    )


def _direction(memory: _Memory, gradient: jax.Array) -> jax.Array:
    """The gradient, downhill, times the inverse Hessian: the two-loop recursion."""
    size = len(memory.moves)
    there = jnp.arange(size) >= size - memory.kept
    curvature = jnp.where(there, jnp.sum(memory.changes * memory.moves, axis=1), 1)

    def back(q: jax.Array, pair: Any) -> Any:
        change, move, curvature, there = pair
        share = jnp.where(there, (move @ q) / curvature, 0)
        return q - share * change, share

    def forth(r: jax.Array, pair: Any) -> Any:
        change, move, curvature, there, share = pair
        return r + jnp.where(there, share - (change @ r) / curvature, 0) * move, None

    pairs = (memory.changes, memory.moves, curvature, there)
    q, shares = jax.lax.scan(back, -gradient, pairs, reverse=True)
    return jax.lax.scan(forth, q * memory.scale, (*pairs, shares))[0]
