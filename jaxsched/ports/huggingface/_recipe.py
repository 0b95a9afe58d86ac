"""Hugging Face's schedules, and the recipe of its Trainer from TrainingArguments (transformers 5.23.0)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxsched.groups import Rule, contains, role
from jaxsched.ports import shared
from jaxsched.ports.huggingface._schedules import get_scheduler
from jaxsched.ports.shared import batches_to_an_update, by_update
from jaxsched.recipe import Accumulation, Recipe
from jaxsched.schedules import Schedule

DEFAULTS: Mapping[str, Any] = {
    "learning_rate": 5e-5,
    "lr_scheduler_type": "linear",
    "lr_scheduler_kwargs": None,
    "warmup_steps": 0,
    "warmup_ratio": None,
    "num_train_epochs": 3.0,
    "max_steps": -1,
    "optim": "adamw_torch_fused",
    "optim_args": None,
    "weight_decay": 0.0,
    "adam_beta1": 0.9,
    "adam_beta2": 0.999,
    "adam_epsilon": 1e-8,
    "max_grad_norm": 1.0,
    "gradient_accumulation_steps": 1,
    "per_device_train_batch_size": 8,
}
"""What the TrainingArguments that a recipe is made of are where nothing is said."""

_OTHERS_TEXT = """
    output_dir optim_target_modules average_tokens_across_devices label_smoothing_factor bf16 fp16 bf16_full_eval
    fp16_full_eval tf32 activation_checkpointing activation_checkpointing_kwargs gradient_checkpointing
    gradient_checkpointing_kwargs torch_compile torch_compile_backend torch_compile_mode use_liger_kernel
    liger_kernel_config use_cache neftune_noise_alpha torch_empty_cache_steps auto_find_batch_size logging_strategy
    logging_steps logging_first_step log_on_each_node logging_nan_inf_filter include_num_input_tokens_seen log_level
    log_level_replica disable_tqdm report_to run_name project trackio_space_id trackio_bucket_id
    trackio_static_space_id eval_strategy eval_steps eval_delay per_device_eval_batch_size prediction_loss_only
    eval_on_start eval_do_concat_batches eval_use_gather_object eval_accumulation_steps include_for_metrics
    batch_eval_metrics save_only_model save_strategy save_steps save_on_each_node save_total_limit
    enable_jit_checkpoint push_to_hub hub_token hub_private_repo hub_model_id hub_strategy hub_always_push hub_revision
    load_best_model_at_end metric_for_best_model greater_is_better ignore_data_skip
    restore_callback_states_from_checkpoint full_determinism seed data_seed use_cpu accelerator_config
    parallelism_config dataloader_drop_last dataloader_num_workers dataloader_pin_memory
    dataloader_persistent_workers dataloader_prefetch_factor dataloader_multiprocessing_context dataloader_in_order
    remove_unused_columns label_names train_sampling_strategy length_column_name ddp_find_unused_parameters
    ddp_bucket_cap_mb ddp_broadcast_buffers ddp_static_graph ddp_backend ddp_timeout fsdp fsdp_config deepspeed debug
    skip_memory_metrics do_train do_eval do_predict resume_from_checkpoint local_rank overwrite_output_dir
    evaluation_strategy logging_dir save_safetensors no_cuda use_mps_device jit_mode_eval use_ipex fp16_opt_level
    half_precision_backend fp16_backend past_index tpu_num_cores tpu_metrics_debug fsdp_min_num_params
    fsdp_transformer_layer_cls_to_wrap group_by_length mp_parameters ray_scope include_inputs_for_metrics
    push_to_hub_model_id push_to_hub_organization push_to_hub_token dispatch_batches split_batches
    include_tokens_per_second torchdynamo per_gpu_train_batch_size per_gpu_eval_batch_size sharded_ddp xpu_backend
    eval_use_gather_object adafactor
"""
_OTHERS = frozenset(_OTHERS_TEXT.split())
"""Arguments of data, precision, evaluation, saving and logging, of this version and of earlier ones."""

_OPTIMIZERS = {
    "adamw_torch": "adamw",
    "adamw_torch_fused": "adamw",
    "sgd": "sgd",
    "adagrad": "adagrad",
    "rmsprop": "rmsprop",
}


def recipe(args: Any, *, steps_per_epoch: int, world_size: int = 1) -> Recipe:
    """The recipe that transformers' ``Trainer`` follows.

    Two groups: ``no_decay`` (norms, and all with "bias" in their path) and ``decay``. (The Trainer tells norms by
    torch's LayerNorm and by names with "norm"; it decays the scale of a BatchNorm that has no such name. Here no norm
    decays.) Schedules count updates: one every ``gradient_accumulation_steps`` batches, whose gradients are averaged,
    and one at the end of each epoch. Warm-up takes ``warmup_steps`` updates, or below 1 that share of them, rounded up.

    Args:
        args: TrainingArguments, a dict of their fields, or the path to a JSON file of them; defaults where it says
            nothing.
        steps_per_epoch: Batches in an epoch, > 0.
        world_size: How many processes train, each with ``per_device_train_batch_size`` examples.

    Returns:
        A recipe; ``notes`` lists the fields that are not part of it.

    Raises:
        TypeError: If a value is of the wrong type.
        ValueError: If a field, the schedule or the optimizer is not known, a number out of its range, or
            ``warmup_steps`` and ``warmup_ratio`` are both set.

    Example:
        >>> import jaxsched as js
        >>> args = dict(learning_rate=1e-3, lr_scheduler_type="cosine", warmup_steps=0.1, num_train_epochs=10)
        >>> recipe = js.ports.huggingface.recipe(args, steps_per_epoch=100)
        >>> [round(float(lr), 6) for lr in js.curves(recipe, [0, 100, 550])["decay"]["lr"]]
        [0.0, 0.001, 0.0005]
    """
    where, given = _read(args)
    shared.check_names(where, given, {*DEFAULTS, *_OTHERS})
    a = {**DEFAULTS, **given}
    nb = shared.as_count("steps_per_epoch", steps_per_epoch)
    every = shared.as_count(f"{where}: gradient_accumulation_steps", a["gradient_accumulation_steps"])
    updates_per_epoch = -(-nb // every)
    updates = _updates(where, a, updates_per_epoch)
    warmup = _warmup(where, a, updates)
    peak = _number(where, a, "learning_rate")
    schedule = _scheduler(where, a, warmup, updates)(peak)
    lr: Schedule = by_update(schedule, every, nb) if every > 1 else schedule
    epochs, rest = divmod(updates, updates_per_epoch)
    aside = [name for name, value in given.items() if name in _OTHERS and value not in (None, False, "", [], {})]
    norm = 0.0 if a["max_grad_norm"] is None else _number(where, a, "max_grad_norm")
    return Recipe(
        optimizer=_optimizer(where, a),
        hyperparameters={"lr": lr, "weight_decay": 0.0, **_options(where, a)},
        groups={"decay": {"weight_decay": _number(where, a, "weight_decay")}, "no_decay": {}},
        rules=(
            Rule(role("norm", "norm_bias", "bias") | contains("bias"), "no_decay", optional=True),
            Rule("**", "decay", optional=True),
        ),
        clip_norm=norm or None,
        accumulate=Accumulation(batches_to_an_update(every, nb), mean=True) if every > 1 else None,
        steps=epochs * nb + min(rest * every, nb),
        steps_per_epoch=nb,
        batch_size=shared.as_count(f"{where}: per_device_train_batch_size", a["per_device_train_batch_size"])
        * shared.as_count("world_size", world_size),
        notes=(f"not part of a recipe: {', '.join(aside)}",) if aside else (),
        origin={
            "lr": f"{where}: learning_rate, {_text(a['lr_scheduler_type'])}, warm-up {warmup} of {updates} updates",
            "decay.weight_decay": f"{where}: weight_decay",
        },
    )


def _read(args: Any) -> tuple[str, dict[str, Any]]:
    if isinstance(args, str | Path):
        return str(args), shared.read_json(args)
    if isinstance(args, Mapping):
        return "args", dict(args)
    if dataclasses.is_dataclass(args) and not isinstance(args, type):
        fields = {field.name: getattr(args, field.name) for field in dataclasses.fields(args) if field.init}
        known = {*DEFAULTS, *_OTHERS}
        return type(args).__name__, {name: value for name, value in fields.items() if name in known}
    raise TypeError(f"expected TrainingArguments, a dict of them or the path to a JSON file, got {args!r}")


def _number(where: str, a: Mapping[str, Any], name: str) -> float:
    field = f"{where}: {name}"
    return shared.within(field, shared.as_number(field, a[name]), 0.0, float("inf"))


def _text(value: Any) -> str:
    """The text of an enum's member, or the text."""
    return str(getattr(value, "value", value))


def _updates(where: str, a: Mapping[str, Any], updates_per_epoch: int) -> int:
    most = shared.as_number(f"{where}: max_steps", a["max_steps"])
    if most > 0:
        return shared.as_count(f"{where}: max_steps", most)
    epochs = _number(where, a, "num_train_epochs")
    return shared.as_count(f"{where}: num_train_epochs", math.ceil(epochs * updates_per_epoch))


def _warmup(where: str, a: Mapping[str, Any], updates: int) -> int:
    steps = _number(where, a, "warmup_steps")
    if a["warmup_ratio"]:
        if steps:
            raise ValueError(
                f"{where}: warmup_steps={a['warmup_steps']!r} and warmup_ratio={a['warmup_ratio']!r} contradict each "
                "other; set one to 0"
            )
        field = f"{where}: warmup_ratio"
        steps = shared.within(field, shared.as_number(field, a["warmup_ratio"]), 0.0, 1.0)
        return math.ceil(updates * steps)
    return int(steps) if steps >= 1 else math.ceil(updates * steps)


def _scheduler(where: str, a: Mapping[str, Any], warmup: int, updates: int) -> Any:
    kwargs = a["lr_scheduler_kwargs"] or {}
    if not isinstance(kwargs, Mapping):
        raise TypeError(f"{where}: lr_scheduler_kwargs must be a dict, got {kwargs!r}")
    try:
        return get_scheduler(_text(a["lr_scheduler_type"]), warmup, updates, kwargs)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{where}: lr_scheduler_type: {error}") from None


def _optimizer(where: str, a: Mapping[str, Any]) -> str:
    name = _text(a["optim"])
    if name not in _OPTIMIZERS or a.get("adafactor"):
        raise ValueError(f"{where}: optim must be one of {', '.join(_OPTIMIZERS)}, got {name!r}")
    if a["optim_args"]:
        raise ValueError(f"{where}: optim_args={a['optim_args']!r} is not ported; leave it out and change the recipe")
    return _OPTIMIZERS[name]


def _options(where: str, a: Mapping[str, Any]) -> dict[str, Any]:
    if _optimizer(where, a) != "adamw":
        return {}
    betas = tuple(shared.as_beta(f"{where}: {name}", a[name]) for name in ("adam_beta1", "adam_beta2"))
    return {"betas": betas, "eps": _number(where, a, "adam_epsilon")}
