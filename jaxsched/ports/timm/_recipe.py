"""timm's schedulers, and the recipe of its train.py from its arguments (1.0.31)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxsched.groups import Condition, Match, Rule, as_condition, ndim, role
from jaxsched.ports import shared
from jaxsched.ports.shared import batches_to_an_update, by_update
from jaxsched.ports.timm._factory import create_scheduler_v2
from jaxsched.ports.timm._schedulers import (
    Scheduler,
)
from jaxsched.recipe import Accumulation, Recipe
from jaxsched.schedules import Schedule, constant, inverse_power, minimum, per_epoch, piecewise

DEFAULTS: Mapping[str, Any] = {
    "opt": "sgd",
    "opt_eps": None,
    "opt_betas": None,
    "momentum": 0.9,
    "weight_decay": 2e-5,
    "clip_grad": None,
    "clip_mode": "norm",
    "layer_decay": None,
    "layer_decay_min_scale": 0.0,
    "layer_decay_no_opt_scale": None,
    "sched": "cosine",
    "sched_on_updates": False,
    "lr": None,
    "lr_base": 0.1,
    "lr_base_size": 256,
    "lr_base_scale": "",
    "lr_noise": None,
    "lr_cycle_mul": 1.0,
    "lr_cycle_decay": 0.5,
    "lr_cycle_limit": 1,
    "lr_k_decay": 1.0,
    "lr_decay_fn": None,
    "lr_stable_timescale": None,
    "warmup_lr": 1e-5,
    "min_lr": 0.0,
    "epochs": 300,
    "decay_milestones": (90, 180, 270),
    "decay_epochs": 90,
    "warmup_epochs": 5,
    "warmup_prefix": False,
    "cooldown_epochs": 0,
    "patience_epochs": 10,
    "decay_rate": 0.1,
    "eval_metric": "top1",
    "batch_size": 128,
    "grad_accum_steps": 1,
    "model_ema": False,
    "model_ema_decay": 0.9998,
    "model_ema_warmup": False,
}
"""What train.py's arguments that a recipe is made of are where nothing is said."""

_OTHERS_TEXT = """
    data data_dir dataset train_split val_split train_num_samples val_num_samples dataset_download
    dataset_trust_remote_code class_map input_img_mode input_key target_key model pretrained pretrained_path
    initial_checkpoint resume no_resume_opt num_classes gp img_size in_chans input_size crop_pct mean std
    interpolation validation_batch_size channels_last fuser grad_checkpointing fast_norm model_kwargs
    head_init_scale head_init_bias torchcompile_mode torchscript torchcompile device amp amp_dtype amp_impl
    model_dtype no_ddp_bb synchronize_step local_rank device_modules opt_kwargs opt_args opt_foreach lr_noise_pct
    lr_noise_std seed epoch_repeats start_epoch no_aug train_crop_mode scale ratio hflip vflip color_jitter
    color_jitter_prob grayscale_prob gaussian_blur_prob aa aug_repeats aug_splits jsd_loss bce_loss bce_sum
    bce_target_thresh bce_pos_weight reprob remode recount resplit mixup cutmix cutmix_minmax mixup_prob
    mixup_switch_prob mixup_mode mixup_off_epoch smoothing train_interpolation drop drop_connect drop_path
    drop_block bn_momentum bn_eps sync_bn dist_bn split_bn model_ema_force_cpu worker_seeding log_interval
    recovery_interval checkpoint_hist workers save_images pin_mem no_prefetcher output experiment tta
    use_multi_epochs_loader log_wandb wandb_project wandb_tags wandb_resume_id naflex_loader distributed world_size
    rank prefetcher config
"""
_OTHERS = tuple(_OTHERS_TEXT.split())
"""Arguments of data, model, augmentation, loss and logging."""

_HAS_MOMENTUM, _HAS_BETAS, _HAS_EPS = "momentum", "betas", "eps"
_OPTIMIZERS: Mapping[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    "sgd": ("sgd", {"nesterov": True}, (_HAS_MOMENTUM,)),
    "momentum": ("sgd", {"nesterov": False}, (_HAS_MOMENTUM,)),
    "adam": ("adam", {}, (_HAS_BETAS, _HAS_EPS)),
    "adamw": ("adamw", {}, (_HAS_BETAS, _HAS_EPS)),
    "nadam": ("nadam", {}, (_HAS_BETAS, _HAS_EPS)),
    "radam": ("radam", {}, (_HAS_BETAS, _HAS_EPS)),
    "radamw": ("radam", {"decoupled_weight_decay": True}, (_HAS_BETAS, _HAS_EPS)),
    "adamax": ("adamax", {}, (_HAS_BETAS, _HAS_EPS)),
    "adagrad": ("adagrad", {"eps": 1e-8}, (_HAS_EPS,)),
    "adadelta": ("adadelta", {}, (_HAS_EPS,)),
    "rmsprop": ("rmsprop", {"alpha": 0.9}, (_HAS_MOMENTUM, _HAS_EPS)),
    "lamb": ("lamb", {}, (_HAS_BETAS, _HAS_EPS)),
    "lambc": ("lamb", {"trust_clip": True}, (_HAS_BETAS, _HAS_EPS)),
}
"""By timm's name: ours, the options it sets, and which of the arguments it takes."""


def recipe(
    args: str | Path | Mapping[str, Any],
    *,
    steps_per_epoch: int,
    world_size: int = 1,
    layers: Sequence[Match] | None = None,
    no_weight_decay: Sequence[Match] = (),
) -> Recipe:
    """The recipe that timm's ``train.py`` follows.

    Parameters of at most one axis, norms and biases, and those of ``no_weight_decay``, are in the group ``no_decay``,
    all others in ``decay``. With ``layer_decay`` there is a pair of groups for each layer, ``layer_0_decay`` and so
    on, whose lr is multiplied by ``max(layer_decay_min_scale, layer_decay ** (last - layer))``; layers below
    ``layer_decay_no_opt_scale`` are frozen.

    Where ``lr`` is not set it is ``lr_base * ratio`` with ``ratio = batch_size * world_size * grad_accum_steps /
    lr_base_size``, or its root for ``lr_base_scale="sqrt"``, which is the default of optimizers with "ada" or "lamb"
    in their name. Gradients of ``grad_accum_steps`` batches are averaged; the last batch of an epoch always ends in
    an update. With ``sched_on_updates`` schedules count updates, else epochs. The average of the parameters begins as
    a copy after the first update.

    Args:
        args: Path to the args.yaml that train.py writes, or its contents as a dict; its defaults where it says nothing.
        steps_per_epoch: Batches in an epoch, > 0.
        world_size: How many processes train, each with ``batch_size`` images.
        layers: With ``layer_decay``: for each layer, the first one first, which parameters it has, as a glob or
            condition; what matches none belongs to the last. List all of timm's, which its models know themselves: the
            stem, each block, the final norm, the head. Where one is left out, the rates of all before it are too high
            by one power of ``layer_decay``.
        no_weight_decay: Further parameters that do not decay, as globs or conditions. (timm's models know these too.)

    Returns:
        A recipe, of as many epochs as ``create_scheduler_v2`` says; ``notes`` lists what is not part of it.

    Raises:
        TypeError: If a value is of the wrong type.
        ValueError: If an argument or the optimizer is not known, noise or adaptive clipping is asked for, or lengths do
            not fit.

    Example:
        >>> import jaxsched as js
        >>> args = dict(opt="adamw", lr=1e-3, weight_decay=0.05, epochs=100, warmup_epochs=5, sched_on_updates=True)
        >>> recipe = js.ports.timm.recipe(args, steps_per_epoch=1000)
        >>> [round(float(lr), 8) for lr in js.curves(recipe, [0, 5000, 50000])["decay"]["lr"]]
        [1e-05, 0.00099384, 0.0005]
    """
    where, given = shared.read(args, "args")
    shared.check_names(where, given, {*DEFAULTS, *_OTHERS})
    for name in ("opt_kwargs", "opt_args", "epoch_repeats", "start_epoch"):
        if given.get(name):
            raise ValueError(f"{where}: {name}={given[name]!r} is not ported; leave it out and change the recipe")
    a = {**DEFAULTS, **given}
    nb = shared.as_count("steps_per_epoch", steps_per_epoch)
    every = shared.as_count(f"{where}: grad_accum_steps", a["grad_accum_steps"])
    batch_size = shared.as_count(f"{where}: batch_size", a["batch_size"]) * shared.as_count("world_size", world_size)
    optimizer, hyperparameters = _optimizer(where, a)
    peak, how = _peak(where, a, batch_size * every)
    scheduler, epochs = _scheduler(where, a, -(-nb // every))
    decay = _number(where, a, "weight_decay")

    def lr(scale: float) -> Schedule:
        schedule = constant(peak) if scheduler is None else _in_steps(scheduler(peak), a, nb, every)
        # timm's lr_scale is a field of the group that schedulers multiply by; without one the base lr stands.
        return schedule if scale == 1.0 or scheduler is None else scale * schedule

    rules, groups = _groups(where, a, layers, no_weight_decay, decay, lr)
    aside = [name for name in given if name in _OTHERS]
    return Recipe(
        optimizer=optimizer,
        hyperparameters={**hyperparameters, "lr": lr(1.0), "weight_decay": 0.0},
        groups=groups,
        rules=rules,
        **_clip(where, a),
        accumulate=Accumulation(batches_to_an_update(every, nb), mean=True) if every > 1 else None,
        ema=_ema(where, a),
        steps=epochs * nb,
        steps_per_epoch=nb,
        batch_size=batch_size,
        notes=(f"not part of a recipe: {', '.join(aside)}",) if aside else (),
        origin={
            "lr": f"{where}: {how}, sched={a['sched']}, {epochs} epochs with warm-up, cycles and cooldown",
            "weight_decay": f"{where}: weight_decay {decay}",
        },
    )


def _number(where: str, a: Mapping[str, Any], name: str, low: float = 0.0) -> float:
    field = f"{where}: {name}"
    return shared.within(field, shared.as_number(field, a[name]), low, float("inf"))


def _optimizer(where: str, a: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    name = str(a["opt"]).lower()
    if name not in _OPTIMIZERS:
        raise ValueError(f"{where}: opt must be one of {', '.join(_OPTIMIZERS)}, got {a['opt']!r}")
    ours, options, takes = _OPTIMIZERS[name]
    hyperparameters = dict(options)
    if _HAS_MOMENTUM in takes:
        hyperparameters["momentum"] = _number(where, a, "momentum")
    if _HAS_EPS in takes and a["opt_eps"] is not None:
        hyperparameters["eps"] = _number(where, a, "opt_eps")
    if _HAS_BETAS in takes and a["opt_betas"] is not None:
        if not isinstance(a["opt_betas"], list | tuple) or len(a["opt_betas"]) != 2:
            raise ValueError(f"{where}: opt_betas must be two numbers, got {a['opt_betas']!r}")
        hyperparameters["betas"] = tuple(shared.as_beta(f"{where}: opt_betas", beta) for beta in a["opt_betas"])
    return ours, hyperparameters


def _peak(where: str, a: Mapping[str, Any], global_batch: int) -> tuple[float, str]:
    """The base lr, and how it came about."""
    if a["lr"] is not None:
        return _number(where, a, "lr"), f"lr {a['lr']}"
    scale = a["lr_base_scale"] or (
        "sqrt" if any(name in str(a["opt"]).lower() for name in ("ada", "lamb")) else "linear"
    )
    if scale not in ("linear", "sqrt"):
        raise ValueError(f"{where}: lr_base_scale must be 'linear', 'sqrt' or '', got {a['lr_base_scale']!r}")
    size = shared.as_count(f"{where}: lr_base_size", a["lr_base_size"])
    ratio = global_batch / size
    lr = _number(where, a, "lr_base") * (ratio**0.5 if scale == "sqrt" else ratio)
    return lr, f"lr_base {a['lr_base']} x {'root of ' if scale == 'sqrt' else ''}{global_batch} / {size}"


def _scheduler(where: str, a: Mapping[str, Any], updates_per_epoch: int) -> tuple[Scheduler | None, int]:
    if a["lr_noise"] is not None:
        raise ValueError(f"{where}: lr_noise comes from torch's random numbers, which are not ported")
    names = {
        "num_epochs": "epochs",
        "decay_epochs": "decay_epochs",
        "cooldown_epochs": "cooldown_epochs",
        "patience_epochs": "patience_epochs",
        "decay_rate": "decay_rate",
        "min_lr": "min_lr",
        "warmup_lr": "warmup_lr",
        "warmup_epochs": "warmup_epochs",
        "cycle_mul": "lr_cycle_mul",
        "cycle_decay": "lr_cycle_decay",
        "cycle_limit": "lr_cycle_limit",
        "k_decay": "lr_k_decay",
    }
    numbers = {name: _number(where, a, source) for name, source in names.items()}
    for name in ("num_epochs", "cooldown_epochs", "patience_epochs", "cycle_limit"):
        numbers[name] = shared.as_count(f"{where}: {names[name]}", a[names[name]], least=int(name == "num_epochs"))
    for name in ("sched_on_updates", "warmup_prefix"):
        if not isinstance(a[name], bool):
            raise TypeError(f"{where}: {name} must be true or false, got {a[name]!r}")
    milestones = a["decay_milestones"]
    if not isinstance(milestones, list | tuple):
        raise TypeError(f"{where}: decay_milestones must be a list of epochs, got {milestones!r}")
    try:
        scheduler, epochs = create_scheduler_v2(
            a["sched"],
            **numbers,  # type: ignore[arg-type]
            decay_milestones=[shared.as_number(f"{where}: decay_milestones", epoch) for epoch in milestones],
            warmup_prefix=a["warmup_prefix"],
            decay_fn=a["lr_decay_fn"],
            stable_timescale=None if a["lr_stable_timescale"] is None else _number(where, a, "lr_stable_timescale"),
            plateau_mode="min" if "loss" in str(a["eval_metric"]) else "max",
            step_on_epochs=not a["sched_on_updates"],
            updates_per_epoch=updates_per_epoch,
        )
    except (TypeError, ValueError) as error:
        raise type(error)(f"{where}: {error}") from None
    return scheduler, shared.as_count(f"{where}: the number of epochs", epochs)


def _in_steps(schedule: Schedule, a: Mapping[str, Any], nb: int, every: int) -> Schedule:
    if not a["sched_on_updates"]:
        return per_epoch(schedule, nb)
    return by_update(schedule, every, nb) if every > 1 else schedule


def _groups(
    where: str, a: Mapping[str, Any], layers: Any, no_weight_decay: Sequence[Match], decay: float, lr: Any
) -> tuple[tuple[Rule, ...], dict[str, dict[str, Any] | None]]:
    stays = Condition("any", (ndim(0, 1), role("norm", "norm_bias", "bias"), *map(as_condition, no_weight_decay)))
    if a["layer_decay"] is None:
        rules = (Rule(stays, "no_decay", optional=True), Rule("**", "decay", optional=True))
        return rules, {"no_decay": {"weight_decay": 0.0}, "decay": {"weight_decay": decay}}
    if not layers:
        raise ValueError(f"{where}: layer_decay needs to know the layers: layers=['stem/**', 'blocks/0/**', ...]")
    base, least = _number(where, a, "layer_decay"), _number(where, a, "layer_decay_min_scale")
    frozen_below = 0.0 if not a["layer_decay_no_opt_scale"] else _number(where, a, "layer_decay_no_opt_scale")
    last = len(layers) - 1
    rules_of, groups = [], {}
    for i, match in enumerate([*layers, "**"]):
        layer = min(i, last)
        scale = max(least, base ** (last - layer))
        for name, condition, own in (("no_decay", stays, 0.0), ("decay", Condition("all", ()), decay)):
            group = f"layer_{layer}_{name}"
            rules_of.append(Rule(as_condition(match) & condition, group, optional=True))
            groups[group] = None if scale < frozen_below else {"lr": lr(scale), "weight_decay": own}
    return tuple(rules_of), groups


def _clip(where: str, a: Mapping[str, Any]) -> dict[str, Any]:
    if a["clip_grad"] is None:
        return {}
    if a["clip_mode"] not in ("norm", "value"):
        raise ValueError(f"{where}: clip_mode must be 'norm' or 'value', got {a['clip_mode']!r}")
    return {f"clip_{a['clip_mode']}": _number(where, a, "clip_grad")}


def _ema(where: str, a: Mapping[str, Any]) -> Schedule | None:
    """ModelEmaV3, told the number of updates: a copy at the first."""
    if not a["model_ema"]:
        return None
    decay = shared.within(
        f"{where}: model_ema_decay", shared.as_number(f"{where}: model_ema_decay", a["model_ema_decay"]), 0.0, 1.0
    )
    if a["model_ema_warmup"]:
        return minimum(1.0 - inverse_power(1.0, rate=1.0, power=2 / 3), decay)
    return piecewise([0.0, decay], at=[1])
