"""The hooks of a config: those that average the weights, that of the schedulers, and notes on those left out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from jaxsched.checks import short
from jaxsched.ports.openmmlab._settings import Settings, bare
from jaxsched.recipe import caution

Config = Mapping[str, Any]

_MOVING = (
    {"lr", "lrs", "learning", "momentum", "decay", "wd", "ema", "swa", "average", "averaging", "teacher"}
    | {"warm", "warmup", "cooldown", "anneal", "annealing"}
    | {"scheduler", "schedule", "scheduling", "optimizer", "optim", "freeze", "unfreeze", "frozen"}
)
"""Words in the name or an argument of a hook that probably changes a hyperparameter or an average."""
_SETTINGS = {"lr", "lr_mult", "momentum", "weight_decay"}
"""Names that mean a hyperparameter anywhere inside the arguments of a hook."""
_STILL = {
    *("CheckpointHook", "LoggerHook", "TextLoggerHook", "TensorboardLoggerHook", "VisualizationHook", "IterTimerHook"),
    *("SwitchRecipeHook", "WarmupParamHook"),  # of MMPretrain: augmentation, and a number of the model
    *("RuntimeInfoHook", "DistSamplerSeedHook", "DistEvalHook", "EvalHook", "ParamSchedulerHook"),
}
"""Hooks that change neither, whatever their arguments are called."""


OF_A_NETWORK = "ExponentialMovingAverageHook"
"""The hook of MMEditing and MMGeneration that averages the networks that it names."""


def averages_another(hook: Any, network: str) -> bool:
    """Whether a hook averages other networks than this one."""
    if not isinstance(hook, Mapping) or bare(hook.get("type")) != OF_A_NETWORK:
        return False
    keys = hook.get("module_keys")
    return f"{network}_ema" not in ([keys] if isinstance(keys, str) else keys if isinstance(keys, list | tuple) else [])


class Hook(NamedTuple):
    name: str
    settings: Settings


def custom_hooks(config: Config) -> list[Hook]:
    """The hooks beside those that every run has. Only those that average need be readable all through."""
    found = []
    listed = config.get("custom_hooks") or []
    if isinstance(listed, Mapping):
        raise TypeError(f"custom_hooks must be a list of hooks, got {short(listed)}")
    entries = [
        (f"custom_hooks[{i}]", hook) for i, hook in enumerate(listed if isinstance(listed, list | tuple) else [])
    ]
    usual = config.get("default_hooks")
    if isinstance(usual, Mapping):
        entries += [(f"default_hooks: {key}", hook) for key, hook in usual.items() if key != "param_scheduler"]
    for where, hook in entries:
        if not isinstance(hook, Mapping):
            continue
        name = bare(hook.get("type"))
        if not isinstance(name, str):
            if where.startswith("custom"):
                found.append(Hook("without a type", Settings(where, {})))
            continue
        if name in _STILL:
            continue
        settings = Settings(where, {})
        settings.values = {key: value for key, value in hook.items() if key not in ("type", "priority")}
        settings.taken += ["type", "priority"]
        found.append(Hook(name, settings))
    return found


def left_out(hook: Hook) -> str:
    """The note on a hook that is not read: a `caution` where its name or an argument says that it moves something."""
    where = hook.settings.where.partition("[")[0]
    words = {word for text in (hook.name, *map(str, hook.settings.values)) for word in _words(text)}
    if words & _MOVING or "EMA" in hook.name or _SETTINGS & set(_names(hook.settings.values)):
        return caution(
            "unread-hook",
            f"{hook.settings.where}: {hook.name} may change a hyperparameter or an average of the weights, and is left "
            "out: add what it does to the recipe",
        )
    return f"{where}: {hook.name} is not part of a recipe"


def _names(value: Any) -> Iterator[str]:
    """The names in a tree of dicts and lists."""
    if isinstance(value, Mapping):
        yield from map(str, value)
    for inner in value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ():
        yield from _names(inner)


def _words(name: str) -> set[str]:
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}


def scheduler_hook(config: Config) -> tuple[str, Settings] | None:
    """The hook that moves lr in place of mmengine's ParamSchedulerHook; None where that one steps the schedulers.

    Raises:
        ValueError: If the config takes the hook out but has schedulers.
    """
    usual = config.get("default_hooks")
    if not isinstance(usual, Mapping) or "param_scheduler" not in usual:
        return None
    hook = usual["param_scheduler"]
    if hook is None:
        if config.get("param_scheduler"):
            raise ValueError(
                "default_hooks: param_scheduler=None removes the hook that steps param_scheduler: remove one of them"
            )
        return None
    settings = Settings("default_hooks: param_scheduler", hook)
    name = settings.name("type", "ParamSchedulerHook")
    if not isinstance(name, str):
        raise TypeError(f"{settings.where}: type must be a name, got {name!r}")
    if name == "ParamSchedulerHook":
        return None
    settings.take("priority", None)
    if config.get("param_scheduler"):
        raise ValueError(f"{settings.where}: {name} sets lr, as does param_scheduler: remove one of them")
    return name, settings
