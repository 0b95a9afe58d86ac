"""The recipe in a config of DeepSpeed (0.19.8): optimizer, scheduler, clipping and accumulation."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from jaxsched.checks import did_you_mean, short
from jaxsched.groups import Rule
from jaxsched.ports import shared
from jaxsched.ports.deepspeed._auto import SIZES, check_auto
from jaxsched.ports.deepspeed._optimizers import optimizer_of
from jaxsched.ports.deepspeed._releases import Rules, open_release, rules_of
from jaxsched.ports.deepspeed._schedulers import SCHEDULERS, Scheduler
from jaxsched.recipe import Accumulation, Recipe
from jaxsched.schedules import Schedule

_OTHERS_TEXT = """
    activation_checkpointing aio amp autotuning bf16 bfloat16 checkpoint comms_logger communication_data_type
    compile compression_training csv_monitor curriculum_learning data_efficiency data_types dataloader_drop_last
    ddp_bf16 disable_allgather disable_python_gc dump_state eigenvalue elasticity expert_parallel flops_profiler fp16
    fp32_allreduce gradient_predivide_factor graph_harvesting hybrid_engine log_level memory_breakdown monitor_config
    nebula pipeline prescale_gradients progressive_layer_drop quantize_training seq_parallel_communication_data_type
    sparse_attention sparse_gradients steps_per_print tensor_parallel tensorboard timers torch_autocast
    use_data_before_expert_parallelism use_node_local_storage vocabulary_size wall_clock_breakdown wandb
    weight_quantization zero_allow_untested_optimizer zero_force_ds_cpu_optimizer zero_optimization zenflow
"""
_OTHERS = frozenset(_OTHERS_TEXT.split())
"""Settings of precision, memory, communication and logging."""


class _Config(shared.Settings):
    """A section of the config, in which "auto" may be a value; see `check_auto`."""

    def read(self, where: str, value: Any) -> Any:
        return 0.0 if value == "auto" and where.endswith(": warmup_min_lr") else value


def recipe(
    config: shared.File | str | os.PathLike[str] | Mapping[str, Any],
    *,
    steps: int | None = None,
    epochs: int | None = None,
    steps_per_epoch: int | None = None,
    images: int | None = None,
    world_size: int | None = None,
    version: str | None = None,
) -> Recipe:
    """The recipe in a config of DeepSpeed; one group, ``all``.

    Schedulers count updates: one every ``gradient_accumulation_steps`` batches, whose gradients are averaged, epochs or
    not. A ``gradient_clipping`` that is left out is 1.0 since 0.19.3, and none before. The run is as long as
    ``total_num_steps`` where nothing else is said.

    Args:
        config: The path to a JSON file, or its content.
        steps: Batches of the run.
        epochs: Epochs of the run.
        steps_per_epoch: Batches in an epoch, of all devices together.
        images: Images (or other examples) of the training set, in place of ``steps_per_epoch``.
        world_size: How many processes train; found from the batch sizes where all three are there, 1 otherwise.
        version: The release that trained, such as ``"0.15.2"``; 0.19.8 where left out.

    Returns:
        A recipe; ``notes`` lists the settings that are not part of it, and where the release matters.

    Raises:
        TypeError: If a value is of the wrong type.
        ValueError: If a setting is not known, missing, "auto", or out of its range.

    Examples:
        >>> import jaxsched as js
        >>> config = dict(
        ...     train_batch_size=16, gradient_clipping=1.0,
        ...     optimizer=dict(type="AdamW", params=dict(lr=1e-3, weight_decay=0.1)),
        ...     scheduler=dict(type="WarmupDecayLR", params=dict(
        ...         warmup_max_lr=1e-3, warmup_num_steps=100, total_num_steps=1000, warmup_type="linear")))
        >>> recipe = js.ports.deepspeed.recipe(config)
        >>> js.curves(recipe, [1, 51, 101])["all"]["lr"].round(5).tolist()
        [0.0, 0.0005000000237487257, 0.0010000000474974513]
    """
    where, content = shared.read(config, "config")
    check_auto(where, content)
    a = _Config(where, content)
    if "optimizer" not in a.values:
        raise ValueError(
            f"{where} has no optimizer, which is then made by the script; if that is Hugging Face's Trainer, give its "
            "TrainingArguments to js.ports.huggingface.recipe"
        )
    rules, batch_size, every = rules_of(version), *_batches(a, world_size)
    optimizer, values, notes = optimizer_of(a.section("optimizer"))
    scheduler = _scheduler(a)
    if version is None:
        notes += open_release(where, scheduler, clips="gradient_clipping" in a.values)
    if scheduler is None:
        notes.append(f"{where} has no scheduler: lr is constant, unless the script makes one")
    else:
        values |= _scheduled({**shared.defaults_of(optimizer), **values}, scheduler, rules, every)
    nb = None
    if any(given is not None for given in (epochs, steps_per_epoch, images)):
        drop_last = bool(a.values.get("dataloader_drop_last"))
        nb = shared.epoch_length(where, steps_per_epoch, images, batch_size, drop_last=drop_last)
    length = _length(where, steps, epochs, nb, getattr(scheduler, "total_num_steps", None), every)
    _check_momentum(where, values.get("betas", (0.0,))[0], length)
    clip = a.number("gradient_clipping", 1.0 if rules.clips else 0.0, low=0.0)
    if a.take("gradient_allreduce_op", "mean") != "mean":
        raise ValueError(f'{a.at("gradient_allreduce_op")} must be "mean": a sum depends on the number of devices')
    if not a.flag("managed_gradient_accumulation", True):
        raise ValueError(f"{a.at('managed_gradient_accumulation')} is false: the script decides when it updates")
    return Recipe(
        optimizer=optimizer,
        hyperparameters=values,
        rules=(Rule("**", "all"),),
        clip_norm=clip or None,
        accumulate=Accumulation(every, mean=True) if every > 1 else None,
        steps=length,
        steps_per_epoch=nb,
        batch_size=batch_size,
        notes=(*notes, *a.rest(aside=_OTHERS)),
        origin={"lr": f"{where}: {'optimizer' if scheduler is None else f'scheduler {type(scheduler).__name__}'}"},
    )


def _batches(a: _Config, world_size: int | None) -> tuple[int, int]:
    """Examples in a batch of all devices together, and batches per update; two of three settings are enough."""
    for name in ("train_batch_size", "train_micro_batch_size_per_gpu"):
        if a.values.get(name) == "auto" and any(a.values.get(other) not in (None, "auto") for other in SIZES):
            del a.values[name]
    total, micro, every = (a.count(name, None, least=1) for name in SIZES)
    if total is None and micro is None:
        raise ValueError(f"{a.where}: train_batch_size or train_micro_batch_size_per_gpu is missing; add one")
    if total is not None and micro is not None and every is not None and world_size is None:
        world_size = max(total // (micro * every), 1)
    if total is not None and micro is not None and every is None and world_size is None:
        raise shared.MissingError(a.where, "its batches per update depend on the processes", ["world_size"])
    processes = 1 if world_size is None else shared.as_count("world_size", world_size)
    if every is None:
        every = 1 if total is None or micro is None else max(total // micro // processes, 1)
    if micro is None:
        micro = max(total // processes // every, 1)
    if total not in (None, micro * every * processes):
        raise ValueError(
            f"{a.at('train_batch_size')} must be {micro} x {every} x {processes} (images of a process, batches to an "
            f"update, processes), got {total}; give world_size=... if that is not right"
        )
    return micro * processes, every


def _scheduler(a: _Config) -> Scheduler | None:
    if a.values.get("scheduler") is None:
        return None
    section = a.section("scheduler")
    name, own = section.text("type"), section.section("params", {})
    section.finish()
    if name not in SCHEDULERS:
        hint = did_you_mean(name, SCHEDULERS) or "; a scheduler of torch is in js.ports.torch"
        raise ValueError(f"{section.at('type')} must be one of {', '.join(SCHEDULERS)}, got {short(name)}{hint}")
    fields = dataclasses.fields(SCHEDULERS[name])
    required = [field.name for field in fields if field.default is dataclasses.MISSING]
    shared.check_names(own.where, own.values, [field.name for field in fields], required)
    given = {key: _as_number(own.at(key), own.take(key)) for key in list(own.values)}
    try:
        return SCHEDULERS[name](**given)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{own.where}: {error}") from None


def _as_number(where: str, value: Any) -> Any:
    """A number that is written as a string, as JSON writers do; anything else as it is."""
    return shared.as_number(where, value) if isinstance(value, str) and value[:1].isdigit() else value


def _scheduled(values: Mapping[str, Any], scheduler: Scheduler, rules: Rules, every: int) -> dict[str, Any]:
    """The hyperparameters that the scheduler sets, by batches, from those of the optimizer."""

    def by_batch(schedule: Schedule) -> Schedule:
        return shared.by_update(schedule, every, every) if every > 1 else schedule

    lr, momentum = rules.lr(scheduler, values["lr"]), rules.momentum(scheduler)
    found: dict[str, Any] = {"lr": by_batch(lr)}
    if momentum is not None and "betas" in values:
        found["betas"] = (by_batch(momentum), 0.99)
    return found


def _length(where: str, steps: Any, epochs: Any, nb: int | None, updates: int | None, every: int) -> int:
    """Batches of the run."""
    if steps is not None:
        return shared.as_count("steps", steps)
    if epochs is not None and nb is not None:
        return shared.as_count("epochs", shared.as_count("epochs", epochs) * nb)
    if updates is not None:
        return shared.as_count(f"{where}: total_num_steps in batches", updates * every)
    raise shared.MissingError(where, "it does not say how long the run is", ("steps", "epochs"), "or")


def _check_momentum(where: str, momentum: Any, length: int) -> None:
    """A momentum that grows with decay_mom_rate reaches 1 some time."""
    if isinstance(momentum, Schedule) and float(momentum(length - 1)) >= 1:
        raise ValueError(f"{where}: decay_mom_rate takes the momentum to 1 within the run's {length:,} batches; set 0")


def fits(file: shared.File) -> bool:
    """Whether a file is a config of DeepSpeed."""
    optimizer = file.mapping.get("optimizer")
    batches = bool({"train_batch_size", "train_micro_batch_size_per_gpu"} & file.names)
    return "zero_optimization" in file.names or (batches and isinstance(optimizer, dict) and "type" in optimizer)
