"""Hugging Face's schedules, and the recipe of its Trainer from TrainingArguments (transformers 5.23.0)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxsched.checks import short
from jaxsched.groups import Rule, contains, role
from jaxsched.ports import shared
from jaxsched.ports.huggingface import _axolotl as axolotl
from jaxsched.ports.huggingface._schedules import get_scheduler
from jaxsched.ports.shared import batches_to_an_update, by_update
from jaxsched.recipe import Accumulation, Recipe, caution
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
    eval_use_gather_object adafactor predict_with_generate sortish_sampler generation_config generation_max_length
    generation_num_beams max_samples use_distributed_optimizer hub_always_push deepspeed_plugin distributed_state
    use_legacy_prediction_loop
"""
_OTHERS = frozenset(_OTHERS_TEXT.split())
"""Arguments of data, precision, evaluation, saving and logging, of this version and of earlier ones."""
NAMES = frozenset({*DEFAULTS, *_OTHERS})
"""Arguments of scripts that take TrainingArguments."""

_EXACT = {
    "adamw_torch": "adamw",
    "adamw_torch_fused": "adamw",
    "adamw_torch_xla": "adamw",
    "adamw_torch_npu_fused": "adamw",
    "adamw_apex_fused": "adamw",
    "sgd": "sgd",
    "adagrad": "adagrad",
    "rmsprop": "rmsprop",
    "lion_32bit": "lion",
}
_IN_FEWER_BITS = (
    "adamw_8bit adamw_bnb_8bit paged_adamw paged_adamw_32bit paged_adamw_8bit adamw_torch_4bit adamw_torch_8bit "
    "adamw_anyprecision"
)
_HF_EPS = "adamw_hf adds adam_epsilon before the bias correction, and decays after the update; here it is adamw_torch"
_PLAIN = {
    **{
        name: ("adamw", f"optim={name} keeps its state in another precision or place; here it is adamw_torch")
        for name in _IN_FEWER_BITS.split()
    },
    **{
        name: ("rmsprop", f"optim={name} keeps its state in fewer bits; here it is rmsprop")
        for name in ("rmsprop_bnb", "rmsprop_bnb_8bit", "rmsprop_bnb_32bit")
    },
    **{
        name: ("lion", f"optim={name} keeps its state in fewer bits; here it is lion")
        for name in ("lion_8bit", "paged_lion_32bit", "paged_lion_8bit")
    },
    "adamw_hf": ("adamw", _HF_EPS),
}
"""Optimizers that are another's plain self but for rounding: ours, and the note."""
_OPTIMIZERS = {**_EXACT, **{name: ours for name, (ours, _) in _PLAIN.items()}, "adafactor": "adafactor"}
_ADAFACTOR = {"eps": (1e-30, 1e-3), "scale_parameter": False, "relative_step": False, "eps_in_square": True}
"""Of Adafactor what the Trainer sets."""

_CHANGE_UPDATES = ("use_galore", "use_apollo", "use_badam", "use_adam_mini", "use_muon")
"""Settings of LLaMA-Factory that bring another optimizer."""
_OF_MODELS = {
    *("base_model", "model_name_or_path", "model_name", "stage"),
    *("dataset", "datasets", "dataset_name", "dataset_mixer", "dataset_mixture"),
}
"""Settings of the scripts that mix those of model and data with TrainingArguments, in one file."""
_OLD_BATCH_SIZE = "per_gpu_train_batch_size"


def recipe(args: Any, *, steps_per_epoch: int | None = None, images: int | None = None, world_size: int = 1) -> Recipe:
    """The recipe that transformers' ``Trainer`` follows.

    Two groups: ``no_decay`` (norms, and all with "bias" in their path) and ``decay``. (The Trainer tells norms by
    torch's LayerNorm and by names with "norm"; it decays the scale of a BatchNorm that has no such name. Here no norm
    decays.) Schedules count updates: one every ``gradient_accumulation_steps`` batches, whose gradients are averaged,
    and one at the end of each epoch. Warm-up takes ``warmup_steps`` updates, or below 1 that share of them, rounded up.

    Args:
        args: TrainingArguments, a dict of their fields, or the path to a JSON or YAML file of them or to the
            ``training_args.bin`` that the Trainer saves (read without executing it); defaults where nothing is said.
        steps_per_epoch: Batches in an epoch, > 0.
        images: Images (or other examples) of the training set, in place of ``steps_per_epoch``.
        world_size: How many processes train, each with ``per_device_train_batch_size`` examples.

    Returns:
        A recipe; ``notes`` lists the fields that are not part of it.

    Raises:
        TypeError: If a value is of the wrong type.
        ValueError: If a field, the schedule or the optimizer is not known, or a number out of its range.

    Examples:
        >>> import jaxsched as js
        >>> args = dict(learning_rate=1e-3, lr_scheduler_type="cosine", warmup_steps=0.1, num_train_epochs=10)
        >>> recipe = js.ports.huggingface.recipe(args, steps_per_epoch=100)
        >>> [round(float(lr), 6) for lr in js.curves(recipe, [0, 100, 550])["decay"]["lr"]]
        [0.0, 0.001, 0.0005]
    """
    where, given, of_axolotl = _read(args, shared.as_count("world_size", world_size))
    a = shared.Settings(where, given, DEFAULTS)
    mixed = not _OF_MODELS.isdisjoint(given)
    notes = _of_scripts(a) if mixed else []
    batch_size = a.count("per_device_train_batch_size", least=1) * world_size
    drop_last = bool(given.get("dataloader_drop_last"))
    nb = shared.epoch_length(where, steps_per_epoch, images, batch_size, drop_last=drop_last)
    every = a.count("gradient_accumulation_steps", least=1)
    updates_per_epoch = -(-nb // every)
    updates = _updates(a, updates_per_epoch)
    warmup = axolotl.warmup(a, updates) if of_axolotl else _warmup(a, updates, notes)
    peak, decay = a.number("learning_rate", low=0.0), a.number("weight_decay", low=0.0)
    kind = _text(a.take("lr_scheduler_type"))
    optimizer, options = _optimizer(a, notes)
    momentum = None
    if of_axolotl and kind in axolotl.SCHEDULES:
        schedule, momentum = axolotl.schedule(kind, _kwargs(a), warmup, updates, peak)
    else:
        schedule = _scheduler(a, kind, warmup, updates)(peak)

    def in_batches(of_updates: Schedule) -> Schedule:
        return by_update(of_updates, every, nb) if every > 1 else of_updates

    lr = in_batches(schedule)
    if momentum is not None:
        options |= _moved(a, optimizer, options, in_batches(momentum))
    epochs, rest = divmod(updates, updates_per_epoch)
    norm = a.number("max_grad_norm", low=0.0, or_none=True)
    return Recipe(
        optimizer=optimizer,
        hyperparameters={"lr": lr, "weight_decay": 0.0, **options},
        groups={"decay": {"weight_decay": decay}, "no_decay": {}},
        rules=(
            Rule(role("norm", "norm_bias", "bias") | contains("bias"), "no_decay", optional=True),
            Rule("**", "decay", optional=True),
        ),
        clip_norm=norm or None,
        accumulate=Accumulation(batches_to_an_update(every, nb), mean=True) if every > 1 else None,
        steps=epochs * nb + min(rest * every, nb),
        steps_per_epoch=nb,
        batch_size=batch_size,
        notes=(*notes, *a.rest(aside=_OTHERS, mixed=mixed)),
        origin={
            "lr": f"{where}: learning_rate, {kind}, warm-up {warmup} of {updates} updates",
            "decay.weight_decay": f"{where}: weight_decay",
        },
    )


def _read(args: Any, world_size: int) -> tuple[str, dict[str, Any], bool]:
    if dataclasses.is_dataclass(args) and not isinstance(args, type | shared.File):
        fields = {field.name: getattr(args, field.name) for field in dataclasses.fields(args) if field.init}
        return type(args).__name__, {name: value for name, value in fields.items() if name in NAMES}, False
    where, given = shared.read(args, "args")
    of_axolotl = axolotl.MARK in given
    if of_axolotl:
        given = axolotl.translated(where, given, world_size)
    if given.get(_OLD_BATCH_SIZE) is not None and given.get("per_device_train_batch_size") is None:
        given["per_device_train_batch_size"] = given.pop(_OLD_BATCH_SIZE)
    return where, given, of_axolotl


def _text(value: Any) -> str:
    """The text of an enum's member, or the text."""
    return str(getattr(value, "value", value))


def _updates(a: shared.Settings, updates_per_epoch: int) -> int:
    most, epochs = a.number("max_steps"), a.number("num_train_epochs", low=0.0)
    if most > 0:
        return shared.as_count(a.at("max_steps"), most)
    return shared.as_count(a.at("num_train_epochs"), math.ceil(epochs * updates_per_epoch))


def _of_scripts(a: shared.Settings) -> list[str]:
    """Cautions on settings of scripts: which parameters train, and an lr that is not theirs."""
    for name in _CHANGE_UPDATES:
        if value := a.take(name, None):
            raise ValueError(f"{a.where}: {name}={short(value)} is not ported; leave it out and change the recipe")
    notes = []
    if "learning_rate" not in a.values:
        text = (
            f"{a.where}: learning_rate is missing; {DEFAULTS['learning_rate']:g}, that of TrainingArguments, is taken"
        )
        notes.append(caution("no-lr", f"{text}, and TRL's trainers have others"))
    frozen = [f"{name}: {short(value)}" for name in _FREEZES if (value := a.take(name, None)) not in (None, False, [])]
    if a.take("finetuning_type", None) == "freeze":
        frozen.append("finetuning_type: freeze")
    if frozen:
        notes.append(caution("freeze", f"{a.where}: {', '.join(frozen)} freezes parameters there and nothing here"))
    return notes


_FREEZES = ("unfrozen_parameters", "use_llama_pro", "freeze_trainable_layers", "freeze_trainable_modules")


def _warmup(a: shared.Settings, updates: int, notes: list[str]) -> int:
    steps, ratio = a.number("warmup_steps", low=0.0), a.number("warmup_ratio", low=0.0, high=1.0)
    if steps and ratio:
        notes.append(f"warmup_steps {steps:g} takes the place of warmup_ratio {ratio:g}, as in transformers 4")
    elif ratio:
        return math.ceil(updates * ratio)
    return int(steps) if steps >= 1 else math.ceil(updates * steps)


def _kwargs(a: shared.Settings) -> shared.Settings:
    kwargs = a.take("lr_scheduler_kwargs") or {}
    if isinstance(kwargs, str):  # on a command line it is JSON
        kwargs = shared.File(Path(f"{a.at('lr_scheduler_kwargs')}.json"), kwargs).content
    if not isinstance(kwargs, Mapping):
        raise TypeError(f"{a.at('lr_scheduler_kwargs')} must be a dict, got {short(kwargs)}")
    return shared.Settings(a.at("lr_scheduler_kwargs"), kwargs)


def _moved(a: shared.Settings, optimizer: str, options: Mapping[str, Any], momentum: Schedule) -> dict[str, Any]:
    """The option of an optimizer that its one-cycle schedule moves."""
    if "betas" in options:
        return {"betas": (momentum, *options["betas"][1:])}
    if optimizer in ("sgd", "rmsprop"):
        return {"momentum": momentum}
    raise ValueError(
        f"{a.at('optim')} {optimizer} has no momentum; one_cycle needs lr_scheduler_kwargs: cycle_momentum: false"
    )


def _scheduler(a: shared.Settings, kind: str, warmup: int, updates: int) -> Any:
    try:
        return get_scheduler(kind, warmup, updates, _kwargs(a).values)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{a.at('lr_scheduler_type')}: {error}") from None


def _optimizer(a: shared.Settings, notes: list[str]) -> tuple[str, dict[str, Any]]:
    name, more = _text(a.take("optim")), a.take("optim_args")
    betas, eps = tuple(a.beta(name) for name in ("adam_beta1", "adam_beta2")), a.number("adam_epsilon", low=0.0)
    if a.take("adafactor", False):  # how earlier versions asked for it
        name = "adafactor"
    if name not in _OPTIMIZERS:
        raise ValueError(f"{a.at('optim')} must be one of {', '.join(_OPTIMIZERS)}, got {short(name)}")
    if more:
        raise ValueError(f"{a.where}: optim_args={short(more)} is not ported; leave it out and change the recipe")
    ours = _OPTIMIZERS[name]
    notes += [_PLAIN[name][1]] if name in _PLAIN else []
    if ours == "adafactor":
        return ours, dict(_ADAFACTOR)
    if ours == "lion":
        return ours, {"betas": betas}
    return ours, {"betas": betas, "eps": eps} if ours == "adamw" else {}
