"""timm's schedulers, and the recipe of its train.py from its arguments (1.0.31)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from jaxsched.checks import short
from jaxsched.groups import Condition, Match, Rule, as_condition, ndim, role
from jaxsched.ports import shared
from jaxsched.ports.shared import batches_to_an_update, by_update
from jaxsched.ports.timm._arguments import DEFAULTS, OF_OTHER_SCRIPTS, OTHERS
from jaxsched.ports.timm._factory import create_scheduler_v2
from jaxsched.ports.timm._optimizers import FUSED, optimizer
from jaxsched.ports.timm._schedulers import Scheduler
from jaxsched.recipe import Accumulation, Recipe
from jaxsched.schedules import Schedule, constant, inverse_power, minimum, per_epoch, piecewise


def recipe(
    args: shared.File | str | os.PathLike[str] | Mapping[str, Any],
    *,
    steps_per_epoch: int | None = None,
    images: int | None = None,
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
    a copy after the first update (before 1.0 as one before it).

    Args:
        args: Path to the args.yaml that train.py writes, or its contents as a dict; its defaults where it says nothing.
        steps_per_epoch: Batches in an epoch, > 0.
        images: Images of the training set, in place of ``steps_per_epoch``; a last batch that is smaller is dropped, as
            timm does.
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
        ValueError: If an argument or the optimizer is not known, noise or adaptive clipping is requested, or lengths do
            not fit.

    Examples:
        >>> import jaxsched as js
        >>> args = dict(opt="adamw", lr=1e-3, weight_decay=0.05, epochs=100, warmup_epochs=5, sched_on_updates=True)
        >>> recipe = js.ports.timm.recipe(args, steps_per_epoch=1000)
        >>> [round(float(lr), 8) for lr in js.curves(recipe, [0, 5000, 50000])["decay"]["lr"]]
        [1e-05, 0.00099384, 0.0005]
    """
    where, given = shared.read(args, "args")
    a = shared.Settings(where, given, DEFAULTS)
    if others := [name for name in OF_OTHER_SCRIPTS if name in given]:
        raise ValueError(
            f"{where}: {others[0]} is not an option of timm's train.py but of scripts that started from it (DeiT's, "
            "MAE's, ConvNeXt's), with defaults of their own and an lr that they scale by the batch; write the recipe "
            "with the schedulers of js.ports.timm"
        )
    for name in ("opt_kwargs", "opt_args", "epoch_repeats", "start_epoch"):
        if value := a.take(name, None):
            raise ValueError(f"{where}: {name}={short(value)} is not ported; leave it out and change the recipe")
    every = a.count("grad_accum_steps", least=1)
    batch_size = a.count("batch_size", least=1) * shared.as_count("world_size", world_size)
    nb = shared.epoch_length(where, steps_per_epoch, images, batch_size, drop_last=True)
    opt = _name(a, "opt")
    notes = [f"opt={opt} is apex's; here it is {FUSED[opt]}"] if opt in FUSED else []
    opt = FUSED.get(opt, opt)
    ours, hyperparameters = optimizer(a, opt)
    peak, how = _peak(a, opt, batch_size * every)
    sched, counts_updates = _name(a, "sched"), a.flag("sched_on_updates")
    scheduler, epochs = _scheduler(a, sched, counts_updates, -(-nb // every))
    decay = a.number("weight_decay", low=0.0)

    def lr(scale: float) -> Schedule:
        schedule = constant(peak) if scheduler is None else _in_steps(scheduler(peak), counts_updates, nb, every)
        # timm's lr_scale is a field of the group that schedulers multiply by; without one the base lr stands.
        return schedule if scale == 1.0 or scheduler is None else scale * schedule

    rules, groups = _groups(a, layers, no_weight_decay, decay, lr)
    return Recipe(
        optimizer=ours,
        hyperparameters={**hyperparameters, "lr": lr(1.0), "weight_decay": 0.0},
        groups=groups,
        rules=rules,
        **_clip(a),
        accumulate=Accumulation(batches_to_an_update(every, nb), mean=True) if every > 1 else None,
        ema=_ema(a),
        steps=epochs * nb,
        steps_per_epoch=nb,
        batch_size=batch_size,
        notes=(*notes, *a.rest(aside=OTHERS)),
        origin={
            "lr": f"{where}: {how}, sched={sched}, {epochs} epochs with warm-up, cycles and cooldown",
            "weight_decay": f"{where}: weight_decay {decay}",
        },
    )


def _name(a: shared.Settings, setting: str) -> str:
    """timm compares names in lower case; None is ``"none"``, as on its command line."""
    return str(a.take(setting)).lower()


def _peak(a: shared.Settings, opt: str, global_batch: int) -> tuple[float, str]:
    """The base lr, and the text that says where it comes from."""
    lr, base, size = a.number("lr", low=0.0), a.number("lr_base", low=0.0), a.count("lr_base_size", least=1)
    scale = a.choice("lr_base_scale", ("", "linear", "sqrt")) or (
        "sqrt" if any(name in opt for name in ("ada", "lamb")) else "linear"
    )
    if lr is not None:
        return lr, f"lr {lr}"
    ratio = global_batch / size
    lr = base * (ratio**0.5 if scale == "sqrt" else ratio)
    return lr, f"lr_base {base} x {'root of ' if scale == 'sqrt' else ''}{global_batch} / {size}"


def _scheduler(
    a: shared.Settings, sched: str, counts_updates: bool, updates_per_epoch: int
) -> tuple[Scheduler | None, int]:
    if a.take("lr_noise") is not None:
        raise ValueError(f"{a.at('lr_noise')} comes from torch's random numbers, which are not ported")
    counts = {"num_epochs": "epochs", "cooldown_epochs": "cooldown_epochs", "patience_epochs": "patience_epochs"}
    numbers = {
        "decay_epochs": "decay_epochs",
        "decay_rate": "decay_rate",
        "min_lr": "min_lr",
        "warmup_lr": "warmup_lr",
        "warmup_epochs": "warmup_epochs",
        "cycle_mul": "lr_cycle_mul",
        "cycle_decay": "lr_cycle_decay",
        "k_decay": "lr_k_decay",
    }
    arguments: dict[str, Any] = {name: a.number(source, low=0.0) for name, source in numbers.items()}
    arguments |= {name: a.count(source, least=int(source == "epochs")) for name, source in counts.items()}
    metric = a.take("eval_metric")
    arguments |= {
        "cycle_limit": a.count("lr_cycle_limit"),
        "decay_milestones": a.numbers("decay_milestones"),
        "warmup_prefix": a.flag("warmup_prefix"),
        "decay_fn": a.take("lr_decay_fn"),
        "stable_timescale": a.number("lr_stable_timescale", low=0.0),
        "plateau_mode": "min" if "loss" in str(metric) else "max",
        "step_on_epochs": not counts_updates,
        "updates_per_epoch": updates_per_epoch,
    }
    try:
        scheduler, epochs = create_scheduler_v2(sched, **arguments)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{a.where}: {error}") from None
    return scheduler, shared.as_count(f"{a.where}: the number of epochs", epochs)


def _in_steps(schedule: Schedule, counts_updates: bool, nb: int, every: int) -> Schedule:
    if not counts_updates:
        return per_epoch(schedule, nb)
    return by_update(schedule, every, nb) if every > 1 else schedule


def _groups(
    a: shared.Settings, layers: Any, no_weight_decay: Sequence[Match], decay: float, lr: Any
) -> tuple[tuple[Rule, ...], dict[str, dict[str, Any] | None]]:
    stays = Condition("any", (ndim(0, 1), role("norm", "norm_bias", "bias"), *map(as_condition, no_weight_decay)))
    base, least = a.number("layer_decay", low=0.0), a.number("layer_decay_min_scale", low=0.0)
    frozen_below = a.number("layer_decay_no_opt_scale", low=0.0) or 0.0
    if base is None:
        rules = (Rule(stays, "no_decay", optional=True), Rule("**", "decay", optional=True))
        return rules, {"no_decay": {"weight_decay": 0.0}, "decay": {"weight_decay": decay}}
    if not layers:
        raise ValueError(f"{a.where}: layer_decay needs to know the layers: layers=['stem/**', 'blocks/0/**', ...]")
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


def _clip(a: shared.Settings) -> dict[str, Any]:
    largest = a.positive("clip_grad", or_none=True)
    mode = a.take("clip_mode")
    if largest is None:
        return {}
    if mode not in ("norm", "value"):
        raise ValueError(f"{a.at('clip_mode')} must be 'norm' or 'value', got {short(mode)}")
    return {f"clip_{mode}": largest}


def _ema(a: shared.Settings) -> Schedule | None:
    """The decay of timm's ModelEmaV3, whose first update copies the parameters; before 1.0, of ModelEmaV2.

    The args.yaml of a run has every argument of its release, and ``model_ema_warmup`` came with V3.
    """
    of_v2 = "model_ema_force_cpu" in a.values and "model_ema_warmup" not in a.values
    decay = a.number("model_ema_decay", low=0.0, high=1.0)
    warms = a.flag("model_ema_warmup")
    if not a.flag("model_ema"):
        return None
    if warms:
        return minimum(1.0 - inverse_power(1.0, rate=1.0, power=2 / 3), decay)
    return constant(decay) if of_v2 else piecewise([0.0, decay], at=[1])
