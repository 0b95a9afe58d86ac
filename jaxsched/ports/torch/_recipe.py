"""The recipe of a live torch optimizer and its scheduler, from their current state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jaxsched import groups as grouping
from jaxsched import optimizers
from jaxsched.optimizers.internal import definition_of
from jaxsched.ports import shared
from jaxsched.ports.torch._live import Future, futures, kind, number
from jaxsched.recipe import Recipe
from jaxsched.schedules import per_epoch

OPTIMIZERS = shared.TORCH_OPTIMIZERS
_HOW = ("params", "param_names", "name", *shared.IMPLEMENTATION)
_OF_SCHEDULERS = ("initial_lr", "max_lr", "min_lr", "swa_lr", "base_momentum", "max_momentum")
FROZEN = "frozen"


def recipe(
    optimizer: Any,
    scheduler: Any = None,
    *,
    named_parameters: Iterable[tuple[str, Any]] | None = None,
    steps_per_epoch: int | None = None,
    steps: int | None = None,
) -> Recipe:
    """The recipe that a live torch optimizer and its scheduler follow from now on.

    They may be at any point of a run: step 0 of the recipe is the next ``optimizer.step()``. They are not modified.
    Together with `load_state`, a run continues in JAX as it would have in torch.

    Groups are named by their ``"name"``, or else ``"0"``, ``"1"``, ... If each role (weight, norm, bias) is in one
    group only, the rules are by role, and fit any tree of parameters. Otherwise they are by name:
    ``backbone.conv.weight`` matches ``backbone/conv/kernel`` (or ``scale``, ``embedding``, ``weight``). A name with
    slashes is used as a path. Parameters with ``requires_grad=False``, or that the optimizer does not have, form the
    group ``"frozen"``.

    Args:
        optimizer: An optimizer of ``torch.optim``.
        scheduler: A scheduler of ``torch.optim.lr_scheduler``, or None for the current values of the groups.
        named_parameters: ``model.named_parameters()``; needed where there is more than one group and the optimizer was
            not made from named parameters.
        steps_per_epoch: Steps in an epoch, if the scheduler is stepped once per epoch. The optimizer must then be at
            the end of an epoch.
        steps: The number of remaining steps. Needed if the scheduler has no closed form, or its learning rate was
            changed by hand: it is then run for these steps, without the model, to make a table.

    Returns:
        A recipe. torch's optimizers have no clipping, accumulation or EMA: add them with ``replace``.

    Raises:
        ValueError: If the optimizer is not one of torch's, the groups cannot be distinguished, or ``steps`` is needed.

    Examples:
        >>> import jaxsched as js
        >>> import torch  # doctest: +SKIP
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)  # doctest: +SKIP
        >>> js.ports.torch.recipe(optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 30))  # doctest: +SKIP
    """
    name = kind(optimizer)
    if name not in OPTIMIZERS or not hasattr(optimizer, "param_groups"):
        raise ValueError(f"recipe: the optimizer must be one of {', '.join(OPTIMIZERS)} of torch.optim, got {name}")
    if steps_per_epoch is not None:
        steps_per_epoch = shared.as_count("steps_per_epoch", steps_per_epoch)
    if steps is not None:
        steps = shared.as_count("steps", steps)
    groups = optimizer.param_groups
    turns = steps if steps is None or steps_per_epoch is None else -(-steps // steps_per_epoch)
    coming = [None] * len(groups) if scheduler is None else futures(optimizer, scheduler, turns)
    definition = definition_of(getattr(optimizers, OPTIMIZERS[name]))
    known = [argument for argument in definition.arguments if argument in groups[0]] if definition else []
    names = group_names(groups)
    values = {
        names[i]: _hyperparameters(group, known, future, steps_per_epoch)
        for i, (group, future) in enumerate(zip(groups, coming, strict=True))
    }
    rules, frozen = _rules(names, groups, None if named_parameters is None else dict(named_parameters))
    first = values[names[0]]
    common = {key: value for key, value in first.items() if all(_same(v[key], value) for v in values.values())}
    overrides: dict[str, Any] = {
        group: {key: value for key, value in own.items() if key not in common} for group, own in values.items()
    }
    own = {"decoupled_weight_decay"} if name == "AdamW" else set()  # AdamW's weight decay is always decoupled
    unread = sorted({key for group in groups for key in group} - {*known, *_HOW, *_OF_SCHEDULERS, *own})
    notes = ["clipping, accumulation and averages, if any, are not in torch's optimizer: add them with replace()"]
    if name == "Muon":
        notes.append("kernels are taken as torch has them, outputs first; for Flax set outputs='last'")
    return Recipe(
        optimizer=OPTIMIZERS[name],
        hyperparameters={**{key: first[key] for key in common}},
        groups={**{group: own for group, own in overrides.items() if own}, **({FROZEN: None} if frozen else {})},
        rules=rules,
        steps=steps,
        steps_per_epoch=steps_per_epoch,
        notes=(*notes, *(f"the groups have {key!r}, which {OPTIMIZERS[name]} has no use for" for key in unread)),
        origin={} if scheduler is None else {"lr": kind(scheduler)},
    )


def group_names(groups: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names of the groups: their ``"name"`` if all differ, otherwise their index."""
    names = [group.get("name") for group in groups]
    if all(isinstance(name, str) and name for name in names) and len(set(names)) == len(names):
        return [str(name) for name in names]
    return [str(i) for i in range(len(groups))]


def _hyperparameters(
    group: Any, known: Sequence[str], future: Future | None, steps_per_epoch: int | None
) -> dict[str, Any]:
    values = {}
    for key in known:
        value = group[key]
        values[key] = tuple(map(number, value)) if isinstance(value, tuple | list) else number(value)
    if future is None:
        return values
    lr, momentum = (
        value if steps_per_epoch is None or not callable(value) else per_epoch(value, steps_per_epoch)
        for value in future
    )
    values["lr"] = lr
    if momentum is not None and "betas" in values:
        values["betas"] = (momentum, *values["betas"][1:])
    elif momentum is not None:
        values["momentum"] = momentum
    return values


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)


def _rules(
    names: list[str], groups: Sequence[Any], named: Mapping[str, Any] | None
) -> tuple[tuple[grouping.Rule, ...], bool]:
    """The rules, and whether some parameters are frozen."""
    if len(groups) == 1 and named is None:
        return (grouping.Rule("**", names[0]),), False
    member = {}
    for name, group in zip(names, groups, strict=True):
        for i, parameter in enumerate(group["params"]):
            member[id(parameter)] = name
            if named is None and "param_names" not in group:
                raise ValueError(
                    "recipe: there is more than one group; give named_parameters=model.named_parameters() to tell "
                    "which parameter is in which"
                )
            if "param_names" in group and named is None:
                member[group["param_names"][i]] = name
    if named is None:
        named = {
            name: parameter
            for group in groups
            for name, parameter in zip(group["param_names"], group["params"], strict=True)
        }
    belongs = {
        name: member.get(id(parameter), FROZEN) if getattr(parameter, "requires_grad", True) else FROZEN
        for name, parameter in named.items()
    }
    return _by_role(named, belongs) or _by_name(belongs), FROZEN in belongs.values()


def _by_role(named: Mapping[str, Any], belongs: Mapping[str, str]) -> tuple[grouping.Rule, ...] | None:
    """A rule for each role, if no role is in two groups."""
    group_of: dict[str, str] = {}
    for name, parameter in named.items():
        if group_of.setdefault(_role(name, parameter, named), belongs[name]) != belongs[name]:
            return None
    if len(set(group_of.values())) == 1:
        return (grouping.Rule("**", next(iter(group_of.values()))),)
    roles_of: dict[str, list[str]] = {}
    for role, group in group_of.items():
        roles_of.setdefault(group, []).append(role)
    return tuple(grouping.Rule(grouping.role(*roles), group) for group, roles in roles_of.items())


def _role(name: str, parameter: Any, named: Mapping[str, Any]) -> str:
    """The role that the parameter will have in JAX, by its name and shape in torch."""
    layer, _, leaf = name.replace("/", ".").rpartition(".")
    if leaf == "bias" or leaf.endswith("_bias"):
        beside = next(
            (p for n, p in named.items() if n.replace("/", ".") in (f"{layer}.weight", f"{layer}.scale")), None
        )
        return "norm_bias" if beside is not None and len(beside.shape) == 1 else "bias"
    return "norm" if len(parameter.shape) == 1 and leaf in ("weight", "scale", "gamma") else "weight"


def _by_name(belongs: Mapping[str, str]) -> tuple[grouping.Rule, ...]:
    rules = []
    for name, group in belongs.items():
        match = grouping.glob(name) if "/" in name else None
        if match is None:
            layer, _, leaf = name.replace(".", "/").rpartition("/")
            leaves = ("kernel", "scale", "embedding", "weight") if leaf == "weight" else (leaf,)
            paths = [grouping.glob(f"{layer}/{leaf}" if layer else leaf) for leaf in leaves]
            match = paths[0] if len(paths) == 1 else grouping.Condition("any", tuple(paths))
        rules.append(grouping.Rule(match, group))
    return tuple(rules)
