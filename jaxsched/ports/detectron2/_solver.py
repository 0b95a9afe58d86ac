"""SOLVER of a Detectron2 config: its defaults, and reading it from a dict or from files, checked."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jaxsched.ports import shared

Config = Mapping[str, Any]

DEFAULTS: Mapping[str, Any] = {
    "LR_SCHEDULER_NAME": "WarmupMultiStepLR",
    "MAX_ITER": 40000,
    "BASE_LR": 0.001,
    "BASE_LR_END": 0.0,
    "MOMENTUM": 0.9,
    "NESTEROV": False,
    "WEIGHT_DECAY": 0.0001,
    "WEIGHT_DECAY_NORM": 0.0,
    "GAMMA": 0.1,
    "STEPS": (30000,),
    "NUM_DECAYS": 3,
    "WARMUP_FACTOR": 1.0 / 1000,
    "WARMUP_ITERS": 1000,
    "WARMUP_METHOD": "linear",
    "RESCALE_INTERVAL": False,
    "CHECKPOINT_PERIOD": 5000,
    "IMS_PER_BATCH": 16,
    "REFERENCE_WORLD_SIZE": 0,
    "BIAS_LR_FACTOR": 1.0,
    "WEIGHT_DECAY_BIAS": None,
    "CLIP_GRADIENTS": {"ENABLED": False, "CLIP_TYPE": "value", "CLIP_VALUE": 1.0, "NORM_TYPE": 2.0},
    "AMP": {"ENABLED": False},
}
"""What Detectron2's SOLVER has where a config says nothing."""
LONGEST_CHAIN = 32
"""Files that are based on one another, at most."""


def solver_of(cfg: str | Path | Config) -> tuple[str, dict[str, Any]]:
    """What to call it in errors, and SOLVER with its defaults, checked."""
    if isinstance(cfg, str | Path):
        path = Path(cfg)
        where, given = f"{path}: SOLVER", _read_file(path, ())
    elif isinstance(cfg, Mapping):
        where, given = "SOLVER", cfg.get("SOLVER", {} if cfg.keys() & {"MODEL", "DATASETS"} else cfg)
    else:
        raise TypeError(f"expected a path to a YAML file or a dict, got {cfg!r}")
    if not isinstance(given, Mapping):
        raise TypeError(f"{where} must hold names and values, got {given!r}")
    shared.check_names(where, given, DEFAULTS)
    return where, {name: _READERS[name](f"{where}: {name}", given.get(name, DEFAULTS[name])) for name in DEFAULTS}


def _read_file(path: Path, below: tuple[Path, ...]) -> dict[str, Any]:
    """SOLVER of a file, over that of the files it is based on."""
    here = path.resolve()
    chain = (*below, here)
    if here in below:
        raise ValueError(f"{below[0]} is based on itself: {' -> '.join(file.name for file in chain)}")
    if len(chain) > LONGEST_CHAIN:
        raise ValueError(f"{below[0]} is based on more than {LONGEST_CHAIN} files")
    content = shared.read_yaml(path)
    bases = content.get("_BASE_", [])
    merged: dict[str, Any] = {}
    for base in [bases] if isinstance(bases, str) else bases if isinstance(bases, list) else [bases]:
        if not isinstance(base, str) or "://" in base:
            raise ValueError(f"{path}: _BASE_ must name files, got {base!r}")
        merged = _merged(merged, _read_file(here.parent / Path(base).expanduser(), chain))
    solver = content.get("SOLVER") or {}
    if not isinstance(solver, dict):
        raise TypeError(f"{path}: SOLVER must hold names and values, got {solver!r}")
    return _merged(merged, solver)


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Settings, and those of CLIP_GRADIENTS and AMP, one by one."""

    def one(name: str) -> Any:
        old, new = base.get(name), over[name]
        return {**old, **new} if isinstance(old, dict) and isinstance(new, dict) else new

    return {**base, **{name: one(name) for name in over}}


def _spelt(where: str, value: Any) -> Any:
    """What a text such as ``"(60000, 80000)"`` or ``"5e-4"`` spells, without executing it; other texts as they are."""
    if not isinstance(value, str):
        return value
    if len(value) > 10_000:
        raise ValueError(f"{where}: the text has {len(value)} characters")
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return value


def _number(low: float = 0.0) -> Callable[[str, Any], float]:
    return lambda where, value: shared.within(where, shared.as_number(where, value), low, float("inf"))


def _count(least: int) -> Callable[[str, Any], int]:
    return lambda where, value: shared.as_count(where, value, least)


def _positive(where: str, value: Any) -> float:
    number = shared.as_number(where, value)
    if number <= 0:
        raise ValueError(f"{where} must be positive, got {value!r}")
    return number


def _gamma(where: str, value: Any) -> float:
    if not 0 < shared.as_number(where, value) <= 1:
        raise ValueError(f"{where} must be in (0, 1], got {value!r}")
    return shared.as_number(where, value)


def _flag(where: str, value: Any) -> bool:
    value = _spelt(where, value)
    if not isinstance(value, bool):
        raise TypeError(f"{where} must be true or false, got {value!r}")
    return value


def _text(where: str, value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{where} must be a text, got {value!r}")
    return value


def _counts(where: str, value: Any) -> tuple[int, ...]:
    value = _spelt(where, value)
    if not isinstance(value, list | tuple):
        raise TypeError(f"{where} must be a list of iterations, got {value!r}")
    return tuple(shared.as_count(f"{where}[{i}]", item, 0) for i, item in enumerate(value))


def _number_or_none(where: str, value: Any) -> float | None:
    value = _spelt(where, value)
    return None if value is None else _number()(where, value)


def _settings(readers: Mapping[str, Callable[[str, Any], Any]], defaults: Config) -> Callable[[str, Any], Any]:
    def read(where: str, value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise TypeError(f"{where} must hold names and values, got {value!r}")
        shared.check_names(where, value, readers)
        return {name: readers[name](f"{where}.{name}", value.get(name, defaults[name])) for name in readers}

    return read


def choice(where: str, values: Config, name: str, allowed: Mapping[str, Any]) -> Any:
    if values[name] not in allowed:
        raise ValueError(f"{where}: {name} must be one of {', '.join(allowed)}, got {values[name]!r}")
    return allowed[values[name]]


_READERS: dict[str, Callable[[str, Any], Any]] = {
    "LR_SCHEDULER_NAME": _text,
    "MAX_ITER": _count(1),
    "BASE_LR": _positive,
    "BASE_LR_END": _number(),
    "MOMENTUM": _number(),
    "NESTEROV": _flag,
    "WEIGHT_DECAY": _number(),
    "WEIGHT_DECAY_NORM": _number(),
    "GAMMA": _gamma,
    "STEPS": _counts,
    "NUM_DECAYS": _count(1),
    "WARMUP_FACTOR": _number(),
    "WARMUP_ITERS": _count(0),
    "WARMUP_METHOD": _text,
    "RESCALE_INTERVAL": _flag,
    "CHECKPOINT_PERIOD": _count(1),
    "IMS_PER_BATCH": _count(1),
    "REFERENCE_WORLD_SIZE": _count(0),
    "BIAS_LR_FACTOR": _number(),
    "WEIGHT_DECAY_BIAS": _number_or_none,
    "CLIP_GRADIENTS": _settings(
        {"ENABLED": _flag, "CLIP_TYPE": _text, "CLIP_VALUE": _positive, "NORM_TYPE": _positive},
        DEFAULTS["CLIP_GRADIENTS"],
    ),
    "AMP": _settings({"ENABLED": _flag}, DEFAULTS["AMP"]),
}
