"""`optimizer` makes an optax transformation of an update rule and an annotated signature."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeAlias, TypeVar

import optax

from jaxsched.checks import bind
from jaxsched.optimizers._driver import as_transformation
from jaxsched.optimizers._hyperparameters import Definition, Values, definition_of_signature
from jaxsched.optimizers._rule import UpdateRule

P = ParamSpec("P")
R = TypeVar("R")
Transformation: TypeAlias = optax.GradientTransformationExtraArgs


def optimizer(
    rule: UpdateRule, check: Callable[[Sequence[Values]], None] | None = None, **fixed: Any
) -> Callable[[Callable[P, Transformation]], Callable[P, Transformation]]:
    """Turn an annotated signature into an optimizer that applies ``rule`` to each parameter.

    The signature is the whole definition: names, order, defaults, and by the annotations which are hyperparameters
    (`NonNegative`, `Beta`, ...: a number or a schedule, evaluated at each step), which are options (a bool, a
    ``Literal``: fixed when the optimizer is made), and what each may be. Each may differ by group. The last two
    arguments are ``groups`` and ``rules``. The body is a docstring: it is never run.

    Args:
        rule: The equation on one array.
        check: A check of the hyperparameters together: takes those of each group that is not frozen, and raises.
        fixed: Options of the rule that the signature leaves out.

    Returns:
        A decorator. `definition_of` reads the definition of what it returns.

    Raises:
        TypeError: By the optimizer, if an argument is not known (the error says which was probably meant) or of the
            wrong type.
        ValueError: By the optimizer, if a value is out of its range.
    """

    def decorate(function: Callable[P, Transformation]) -> Callable[P, Transformation]:
        for_all = () if rule.max_norm is None else (rule.max_norm,)

        @_with_definition(function, for_all)
        def make(definition: Definition, arguments: dict[str, Any]) -> Transformation:
            groups, rules = arguments.pop("groups"), arguments.pop("rules")
            return as_transformation(definition, rule, arguments, groups, rules, check, fixed)

        make.parts = (rule, check, fixed)  # type: ignore[attr-defined]  # for scale_by
        return make

    return decorate


def checked_arguments(function: Callable[P, R]) -> Callable[P, R]:
    """A function whose arguments are checked by their annotations, as those of an `optimizer` are."""

    @_with_definition(function, ())
    def call(definition: Definition, arguments: dict[str, Any]) -> R:
        values = definition.checked(arguments, "")
        definition.check_shapes(values)
        return function(**values)  # type: ignore[call-arg]

    return call


def _with_definition(
    function: Callable[P, R], for_all: tuple[str, ...]
) -> Callable[[Callable[[Definition, dict[str, Any]], R]], Callable[P, R]]:
    """A function with the signature of ``function`` that passes its arguments by name, with their definition."""
    signature = inspect.signature(function)
    definition = functools.cache(lambda: definition_of_signature(function, for_all))  # annotations are read when used

    def decorate(call: Callable[[Definition, dict[str, Any]], R]) -> Callable[P, R]:
        @functools.wraps(function)
        def make(*args: P.args, **kwargs: P.kwargs) -> R:
            own = definition()
            arguments = bind(own.name, signature, args, kwargs, own.other_words).arguments
            made = call(own, dict(arguments))
            if isinstance(made, optax.GradientTransformation):
                made.init.made_by = (make, arguments)  # for reports on a chain of them
            return made

        make.definition = definition  # type: ignore[attr-defined]
        return make

    return decorate


def definition_of(maker: Any) -> Definition | None:
    """What the signature of an optimizer says, or None of anything that takes no groups."""
    definition: Callable[[], Definition] | None = getattr(maker, "definition", None)
    return definition() if definition and "groups" in inspect.signature(maker).parameters else None
