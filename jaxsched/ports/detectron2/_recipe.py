"""Detectron2's schedules and recipe, from its SOLVER settings (commit 02b5c4e2; fvcore 0.1.5.post20221221)."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from jaxsched.checks import short
from jaxsched.groups import ROLES, Rule, role
from jaxsched.ports import shared
from jaxsched.ports.detectron2 import _projects as projects
from jaxsched.ports.detectron2 import _solver as settings
from jaxsched.ports.detectron2._compose import WarmupParamScheduler
from jaxsched.ports.detectron2._schedulers import (
    MOST_STAIRS,
    CosineParamScheduler,
    MultiStepParamScheduler,
    ParamScheduler,
    StepWithFixedGammaParamScheduler,
)
from jaxsched.ports.detectron2._solver import DEFAULTS, Config
from jaxsched.recipe import Recipe, caution
from jaxsched.schedules import Schedule, cosine, maximum, multi_step, piecewise, polynomial, warmup

_ASIDE = ("CHECKPOINT_PERIOD", "AMP")


def LRMultiplier(multiplier: ParamScheduler, max_iter: int) -> Callable[[float], Schedule]:
    """A base lr times a scheduler: at step ``t``, ``base_lr * multiplier(t / max_iter)``.

    Examples:
        >>> from jaxsched.ports import detectron2
        >>> lr = detectron2.LRMultiplier(detectron2.LinearParamScheduler(1.0, 0.0), max_iter=4)(0.5)
        >>> [float(lr(step)) for step in range(5)]
        [0.5, 0.375, 0.25, 0.125, 0.0]
    """
    factor = multiplier.over(max_iter)
    return lambda base_lr: base_lr * factor


def WarmupMultiStepLR(
    milestones: Sequence[int],
    gamma: float = 0.1,
    warmup_factor: float = 0.001,
    warmup_iters: int = 1000,
    warmup_method: str = "linear",
) -> Callable[[float], Schedule]:
    """Detectron2's deprecated class of this name: the factor of warm-up times the stairs, at every iteration.

    Args:
        milestones: Iterations at which the lr is multiplied by ``gamma``, ascending.
        gamma: That factor.
        warmup_factor: Factor at iteration 0.
        warmup_iters: Iterations of the warm-up; 0 for none.
        warmup_method: ``"linear"``: the factor rises in a line to 1; ``"constant"``: it stays.

    Examples:
        >>> from jaxsched.ports import detectron2
        >>> lr = detectron2.WarmupMultiStepLR([60, 80], warmup_factor=0.5, warmup_iters=10)(1.0)
        >>> [round(float(lr(step)), 4) for step in (0, 10, 60, 80)]
        [0.5, 1.0, 0.1, 0.01]
    """
    return lambda base_lr: _deprecated(
        multi_step(base_lr, tuple(milestones), gamma), warmup_factor, warmup_iters, warmup_method
    )


def WarmupCosineLR(
    max_iters: int, warmup_factor: float = 0.001, warmup_iters: int = 1000, warmup_method: str = "linear"
) -> Callable[[float], Schedule]:
    """Detectron2's deprecated class of this name: the factor of warm-up times half a cosine down to 0.

    Args:
        max_iters: Iterations of the cosine, which runs from iteration 0; after them the lr is 0.
        warmup_factor: Factor at iteration 0.
        warmup_iters: Iterations of the warm-up; 0 for none.
        warmup_method: ``"linear"``: the factor rises in a line to 1; ``"constant"``: it stays.

    Examples:
        >>> from jaxsched.ports import detectron2
        >>> lr = detectron2.WarmupCosineLR(max_iters=100, warmup_factor=0.5, warmup_iters=10)(1.0)
        >>> [round(float(lr(step)), 4) for step in (0, 10, 50, 100)]
        [0.5, 0.9755, 0.5, 0.0]
    """
    return lambda base_lr: _deprecated(cosine(base_lr, max_iters), warmup_factor, warmup_iters, warmup_method)


def WarmupPolyLR(
    max_iters: int,
    warmup_factor: float = 0.001,
    warmup_iters: int = 1000,
    warmup_method: str = "linear",
    power: float = 0.9,
    constant_ending: float = 0.0,
) -> Callable[[float], Schedule]:
    """DeepLab's and Mask2Former's: the factor of warm-up times ``base_lr * (1 - t / max_iters) ** power``.

    After warm-up the value is at least ``constant_ending * base_lr``; after ``max_iters`` the last value is held.

    Args:
        max_iters: Iterations of the decay.
        warmup_factor: Factor at iteration 0.
        warmup_iters: Iterations of the warm-up; 0 for none.
        warmup_method: ``"linear"``: the factor rises in a line to 1; ``"constant"``: it stays.
        power: Power of the decay, > 0.
        constant_ending: The lowest factor after the warm-up.

    Examples:
        >>> from jaxsched.ports import detectron2
        >>> lr = detectron2.WarmupPolyLR(max_iters=100, warmup_iters=10, power=1.0, constant_ending=0.1)(1.0)
        >>> [round(float(lr(step)), 4) for step in (0, 5, 10, 50, 95)]
        [0.001, 0.4755, 0.9, 0.5, 0.1]
    """

    def schedule(base_lr: float) -> Schedule:
        fall = polynomial(base_lr, 0.0, max_iters, power)
        warm = _deprecated(fall, warmup_factor, warmup_iters, warmup_method)
        if not constant_ending:
            return warm
        ending = maximum(fall, constant_ending * base_lr)
        return piecewise([warm, ending], at=[warmup_iters]) if warmup_iters else ending

    return schedule


def _deprecated(schedule: Schedule, factor: float, iters: int, method: str) -> Schedule:
    if method not in ("linear", "constant"):
        raise ValueError(f"warmup_method must be 'linear' or 'constant', got {short(method)}")
    return warmup(schedule, iters, factor * schedule, method) if iters else schedule


def build_lr_scheduler(cfg: shared.File | str | os.PathLike[str] | Config) -> Callable[[float], Schedule]:
    """The schedule that Detectron2's function of this name makes from SOLVER; called with a base lr.

    With ``f`` the multi-step, cosine or step-with-fixed-gamma factor and ``W = WARMUP_ITERS / MAX_ITER``: up to and
    including iteration ``WARMUP_ITERS``, ``WARMUP_FACTOR * f(0)`` (constant) or a line from there to ``f(W)`` (linear);
    then ``f``, or with RESCALE_INTERVAL ``f`` from its own beginning. After MAX_ITER the last value is held.

    Args:
        cfg: A config with SOLVER, the SOLVER dict itself, or the path to a YAML file, as for `recipe`.

    Raises:
        ValueError: If a setting is not known or out of its range, such as STEPS that do not ascend.

    Examples:
        >>> from jaxsched.ports import detectron2
        >>> lr = detectron2.build_lr_scheduler(dict(MAX_ITER=100, STEPS=(60, 80), WARMUP_ITERS=10))(0.02)
        >>> [round(float(lr(step)), 6) for step in (0, 5, 10, 59, 60, 80)]
        [2e-05, 0.01001, 0.02, 0.02, 0.002, 0.0002]
    """
    return _lr_scheduler(*settings.solver_of(cfg))


def _lr_scheduler(where: str, solver: Config) -> Callable[[float], Schedule]:
    max_iter = solver["MAX_ITER"]
    method = settings.choice(where, solver, "WARMUP_METHOD", {"linear": "linear", "constant": "constant"})
    if solver["LR_SCHEDULER_NAME"] == "WarmupPolyLR":
        return WarmupPolyLR(
            max_iter,
            solver["WARMUP_FACTOR"],
            solver["WARMUP_ITERS"],
            method,
            power=solver["POLY_LR_POWER"],
            constant_ending=solver["POLY_LR_CONSTANT_ENDING"],
        )
    length = min(solver["WARMUP_ITERS"] / max_iter, 1.0)
    names = {**_FACTORS, "WarmupPolyLR": None}
    scheduler = settings.choice(where, solver, "LR_SCHEDULER_NAME", names)(where, solver)
    return LRMultiplier(
        WarmupParamScheduler(scheduler, solver["WARMUP_FACTOR"], length, method, solver["RESCALE_INTERVAL"]), max_iter
    )


def _multi_step(where: str, solver: Config) -> ParamScheduler:
    max_iter = solver["MAX_ITER"]
    steps = [step for step in solver["STEPS"] if step < max_iter]
    if any(a >= b for a, b in zip([0, *steps], [*steps, max_iter], strict=True)):
        raise ValueError(f"{where}: STEPS must ascend from above 0, got {short(solver['STEPS'])}")
    if len(steps) > MOST_STAIRS:
        raise ValueError(f"{where}: STEPS must be at most {MOST_STAIRS}, got {len(steps)}")
    return MultiStepParamScheduler([solver["GAMMA"] ** k for k in range(len(steps) + 1)], max_iter, steps)


def _cosine(where: str, solver: Config) -> ParamScheduler:
    if not 0 <= solver["BASE_LR_END"] <= solver["BASE_LR"]:
        raise ValueError(
            f"{where}: BASE_LR_END must be in [0, BASE_LR = {solver['BASE_LR']}], got {short(solver['BASE_LR_END'])}"
        )
    return CosineParamScheduler(1.0, solver["BASE_LR_END"] / solver["BASE_LR"])


def _fixed_gamma(where: str, solver: Config) -> ParamScheduler:
    del where
    return StepWithFixedGammaParamScheduler(1.0, solver["NUM_DECAYS"], solver["GAMMA"], solver["MAX_ITER"])


_FACTORS: dict[str, Callable[[str, Config], ParamScheduler]] = {
    "WarmupMultiStepLR": _multi_step,
    "WarmupCosineLR": _cosine,
    "WarmupStepWithFixedGammaLR": _fixed_gamma,
}


def recipe(
    cfg: shared.File | str | os.PathLike[str] | Config,
    *,
    steps_per_epoch: int | None = None,
    world_size: int | None = None,
    root: str | os.PathLike[str] | None = None,
) -> Recipe:
    """The recipe that Detectron2's ``DefaultTrainer`` follows.

    SGD with the schedule of `build_lr_scheduler`, in four groups: ``weight``, ``bias`` (lr times BIAS_LR_FACTOR,
    WEIGHT_DECAY_BIAS if given), ``norm`` (WEIGHT_DECAY_NORM) and ``norm_bias`` (as ``norm``, but for what is said of
    biases, which comes later and wins).

    Projects that build on Detectron2 bring optimizers of their own, which MODEL.META_ARCHITECTURE, OPTIMIZER or
    USE_CUSTOM_SOLVER ask for: SGD or AdamW, with the lr of the backbone times BACKBONE_MULTIPLIER and all gradients
    clipped together by CLIP_TYPE ``full_model``. In MaskFormer, Mask2Former and MaskDINO norms decay by
    WEIGHT_DECAY_NORM, embeddings by WEIGHT_DECAY_EMBED and position biases not at all; in Sparse R-CNN, DiffusionDet
    and Detic's custom solver all parameters decay alike. Which it is, is a caution in ``notes`` where it is not known.

    Args:
        cfg: The config as a dict, with SOLVER in it or SOLVER itself, or the path to a YAML file, whose ``_BASE_`` is
            followed. Texts such as ``"(60000, 80000)"`` are read as the numbers they spell, as yacs does; nothing is
            executed.
        steps_per_epoch: Iterations in an epoch, if it is to be known: Detectron2 itself counts iterations only.
        world_size: How many workers train, for configs with a REFERENCE_WORLD_SIZE: batch, lr and lengths are then
            scaled as its ``auto_scale_workers`` does.
        root: The folder that the files of ``_BASE_`` must be in. Default: the outermost folder around the file that
            holds a folder ``configs``, else the folder above the file's own.

    Returns:
        A recipe; SOLVER's defaults where the config says nothing.

    Raises:
        TypeError: If a value is of the wrong type.
        ValueError: If a setting is not known or out of its range, or files inherit in a circle.

    Examples:
        >>> import jaxsched as js
        >>> recipe = js.ports.detectron2.recipe(dict(SOLVER=dict(BASE_LR=0.02, MAX_ITER=90000, STEPS="(60000, 80000)")))
        >>> [round(float(recipe.hyperparameters["lr"](step)), 6) for step in (0, 1000, 60000, 80000)]
        [2e-05, 0.02, 0.002, 0.0002]
    """
    where, solver = settings.solver_of(cfg, root)
    solver, scaled = _scaled(solver, world_size)
    lr = _lr_scheduler(where, solver)
    base = solver["BASE_LR"]
    project = projects.project_of(solver)
    optimizer, hyperparameters = _optimizer(solver, project)
    rules, groups = projects.groups_of(project, solver, lr) if project else _groups(solver, lr)
    dropped = [step for step in solver["STEPS"] if step >= solver["MAX_ITER"]]
    aside = [name for name in _ASIDE if solver[name] != DEFAULTS[name]]
    notes = [
        *scaled,
        *([f"STEPS from MAX_ITER on are never reached: {dropped}"] if dropped else []),
        *([f"not part of a recipe: {', '.join(aside)}"] if aside else []),
        *(projects.cautions_of(where, project) if project else []),
        *_far_lr(where, solver, optimizer),
        *([caution("left-out", f"{where}: MODEL_EMA averages the parameters in its project")] * solver["AVERAGED"]),
    ]
    return Recipe(
        optimizer=optimizer,
        hyperparameters={"lr": lr(base), **hyperparameters},
        groups=groups,
        rules=rules,
        **_clip(where, solver),
        steps=solver["MAX_ITER"],
        steps_per_epoch=None if steps_per_epoch is None else shared.as_count("steps_per_epoch", steps_per_epoch),
        batch_size=solver["IMS_PER_BATCH"],
        notes=tuple(notes),
        origin={
            "lr": f"{where}: BASE_LR, {solver['LR_SCHEDULER_NAME']}, WARMUP_METHOD {solver['WARMUP_METHOD']} "
            f"({solver['WARMUP_ITERS']} iterations)",
            "bias.lr": f"{where}: BASE_LR x BIAS_LR_FACTOR {solver['BIAS_LR_FACTOR']}",
            "norm.weight_decay": f"{where}: WEIGHT_DECAY_NORM",
        },
    )


def _far_lr(where: str, solver: Config, optimizer: str) -> list[str]:
    """A caution where SGD has an lr for many more images than a batch has: the configs' lr on a small machine."""
    images, lr = solver["IMS_PER_BATCH"], solver["BASE_LR"]
    if optimizer != "sgd" or lr / images <= _FAR * _LR_OF_AN_IMAGE:
        return []
    usual = _LR_OF_AN_IMAGE * images
    text = f"{where}: BASE_LR {lr:g} on {images} images is {lr / usual:.2g} times what Detectron2's configs have"
    return [caution("lr-of-batch", f"{text}, 0.02 on 16: that would be {usual:.4g}")]


_LR_OF_AN_IMAGE, _FAR = 0.02 / 16, 3.0


def _optimizer(solver: Config, project: projects.Project | None) -> tuple[str, dict[str, Any]]:
    name = (solver["OPTIMIZER"] or project.optimizer) if project else "SGD"
    if name != "SGD":
        return projects.OPTIMIZERS[name], {"weight_decay": solver["WEIGHT_DECAY"]}
    nesterov = solver["NESTEROV"] and (project is None or project.nesterov)
    values = {"momentum": solver["MOMENTUM"], "nesterov": nesterov, "weight_decay": solver["WEIGHT_DECAY"]}
    return projects.OPTIMIZERS[name], values


def _groups(solver: Config, lr: Callable[[float], Schedule]) -> tuple[tuple[Rule, ...], dict[str, dict[str, Any]]]:
    factor = solver["BIAS_LR_FACTOR"]
    bias: dict[str, Any] = {} if factor == 1.0 else {"lr": lr(solver["BASE_LR"] * factor)}
    bias |= {} if solver["WEIGHT_DECAY_BIAS"] is None else {"weight_decay": solver["WEIGHT_DECAY_BIAS"]}
    norm = {"weight_decay": solver["WEIGHT_DECAY_NORM"]}
    rules = tuple(Rule(role(name), name, optional=True) for name in ROLES)
    return rules, {"bias": bias, "norm": norm, "norm_bias": {**norm, **bias}}


def _scaled(solver: dict[str, Any], world_size: int | None) -> tuple[dict[str, Any], list[str]]:
    reference = solver["REFERENCE_WORLD_SIZE"]
    if not reference:
        return solver, []
    if world_size is None:
        return solver, [f"for {reference} workers (REFERENCE_WORLD_SIZE); give world_size=... to scale"]
    scale = shared.as_count("world_size", world_size) / reference
    if scale == 1:
        return solver, []
    shorter = {name: round(solver[name] / scale) for name in ("MAX_ITER", "WARMUP_ITERS")}
    changes = {
        "IMS_PER_BATCH": round(solver["IMS_PER_BATCH"] * scale),
        "BASE_LR": solver["BASE_LR"] * scale,
        **shorter,
        "STEPS": tuple(round(step / scale) for step in solver["STEPS"]),
    }
    text = ", ".join(f"{name} {solver[name]} -> {value}" for name, value in changes.items())
    return {**solver, **changes}, [f"scaled from {reference} to {world_size} workers: {text}"]


def _clip(where: str, solver: Config) -> dict[str, Any]:
    clip = solver["CLIP_GRADIENTS"]
    if not clip["ENABLED"]:
        return {}
    kind = settings.choice(f"{where}: CLIP_GRADIENTS", clip, "CLIP_TYPE", _CLIPS)
    if kind == "clip_each_norm" and clip["NORM_TYPE"] != 2.0:
        raise ValueError(f"{where}: CLIP_GRADIENTS.NORM_TYPE must be 2.0, got {short(clip['NORM_TYPE'])}")
    return {kind: clip["CLIP_VALUE"]}


_CLIPS = {"value": "clip_value", "norm": "clip_each_norm", "full_model": "clip_norm"}
"""By CLIP_TYPE what a recipe clips by; ``full_model`` is of projects such as Mask2Former, and has norm 2."""
