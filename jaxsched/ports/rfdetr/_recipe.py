"""The recipe that RF-DETR's ``train`` follows (release 1.4.1), from its arguments."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

from jaxsched.checks import short
from jaxsched.ports import shared
from jaxsched.ports.rfdetr._groups import groups
from jaxsched.recipe import Recipe, caution
from jaxsched.schedules import (
    Schedule,
    Value,
    delayed,
    exponential_ramp,
    linear,
    multi_step,
    periodic_cosine,
    piecewise,
)

DEFAULTS: Mapping[str, Any] = {
    "lr": 1e-4,
    "lr_encoder": 1.5e-4,
    "batch_size": 4,
    "grad_accum_steps": 4,
    "epochs": 100,
    "weight_decay": 1e-4,
    "lr_scheduler": "step",
    "lr_min_factor": 0.0,
    "lr_drop": 100,
    "warmup_epochs": 0.0,
    "lr_vit_layer_decay": 0.8,
    "lr_component_decay": 0.7,
    "clip_max_norm": 0.1,
    "use_ema": True,
    "ema_decay": 0.993,
    "ema_tau": 100,
    "freeze_encoder": False,
    "backbone_lora": False,
    "min_batches": 5,
    "world_size": 1,
}
"""The arguments that a recipe is made of: those of TrainConfig, and others that ``train`` passes on."""
_OUTPUTS: Mapping[str, tuple[int, ...]] = {
    "base": (2, 5, 8, 11),
    "large_deprecated": (2, 5, 8, 11),
    **dict.fromkeys(("nano", "small", "medium", "large", "seg"), (3, 6, 9, 12)),
}
"""By model the layers of its encoder that it takes features from."""
_ASIDE_TEXT = """
    resume checkpoint_interval drop_path group_detr ia_bce_loss cls_loss_coef num_select dataset_file dataset_dir
    square_resize_div_64 output_dir multi_scale expanded_scales do_random_resize_via_padding num_workers early_stopping
    early_stopping_patience early_stopping_min_delta early_stopping_use_ema tensorboard wandb project run class_names
    run_test segmentation_head eval_max_dets mask_point_sample_ratio mask_ce_loss_coef mask_dice_loss_coef encoder
    dec_layers two_stage projector_scale hidden_dim patch_size num_windows sa_nheads ca_nheads dec_n_points bbox_reparam
    lite_refpoint_refine layer_norm amp num_classes pretrain_weights device resolution gradient_checkpointing
    positional_encoding_size mask_downsample_ratio license num_queries seed print_freq dropout drop_mode drop_schedule
    cutoff_epoch start_epoch distributed sync_bn progress_bar
"""
_ASIDE = frozenset(_ASIDE_TEXT.split())
"""Arguments of the model, the loss, the data and the log."""


def recipe(
    args: shared.File | str | os.PathLike[str] | Mapping[str, Any],
    *,
    images: int | None = None,
    world_size: int | None = None,
    model: str | None = None,
) -> Recipe:
    """The recipe that RF-DETR's ``train`` follows.

    A step is an update, of ``batch_size * grad_accum_steps`` images in each process. With ``E = ceil(images / images of
    an update)``: a line from 0 over ``warmup_epochs * E`` steps, then a tenth from ``lr_drop * E`` on (``step``), or
    half a cosine down to ``lr_min_factor`` at ``epochs * E`` (``cosine``). An update that lacks images is not made, so
    that a run ends before that.

    The encoder has ``lr_encoder * lr_component_decay**2``, times ``lr_vit_layer_decay`` for each layer below its end
    (the groups ``encoder_3_below_decay`` and so on, without decay ``encoder_3_below_no_decay``), the decoder
    ``lr * lr_component_decay``, and all ``other`` parameters ``lr``.

    Args:
        args: The arguments by name, or the path to a YAML or JSON file of them.
        images: Images of the training set; required.
        world_size: How many processes (GPUs) train, in place of that of the arguments.
        model: Which model: base, nano, small, medium, large, large_deprecated or seg; its encoder's layers count from
            another end. Not needed if ``out_feature_indexes`` is there.

    Returns:
        A recipe; ``notes`` lists the arguments that are not part of it.

    Raises:
        TypeError: If a value is of the wrong type.
        ValueError: If a value is out of its range, or an argument not known.

    Examples:
        >>> import jaxsched as js
        >>> recipe = js.ports.rfdetr.recipe(dict(epochs=10, warmup_epochs=1, lr_drop=8), images=1600, model="base")
        >>> js.curves(recipe, [0, 50, 100, 800])["other"]["lr"].round(7)
        array([0.e+00, 5.e-05, 1.e-04, 1.e-05], dtype=float32)
    """
    where, values = shared.read(args)
    a = shared.Settings(where, values, DEFAULTS)
    if images is None:
        raise shared.MissingError(where, "the length of its schedule follows from the images", ["images"])
    processes = a.count("world_size", least=1)
    processes = processes if world_size is None else shared.as_count("world_size", world_size)
    images = shared.as_count("images", images)
    size, epochs = a.count("batch_size", least=1) * a.count("grad_accum_steps", least=1), a.count("epochs", least=1)
    least = a.count("min_batches", least=1)
    nb = least if images < size * least else -(-images // processes) // size
    if nb < 1:
        raise ValueError(f"{where}: an update of {size} images is larger than the share of a process; lower batch_size")
    unit = _unit(a, -(-images // (size * processes)), epochs)
    rules, by_group = groups(a, unit, _outputs(a, model))
    clip, notes = a.number("clip_max_norm"), list[str]()
    if a.flag("backbone_lora"):
        text = f"{a.at('backbone_lora')}: only adapters of the encoder are trained there; freeze its other parameters"
        notes.append(caution("left-out", text))
    average = _average(a)
    return Recipe(
        "adamw",
        {"weight_decay": a.number("weight_decay", low=0.0)},
        groups=by_group,
        rules=rules,
        clip_norm=clip if clip > 0 else None,
        ema=average,
        steps=shared.as_count("epochs x steps_per_epoch", epochs * nb),
        steps_per_epoch=nb,
        batch_size=size * processes,
        notes=(*notes, *a.rest(aside=_ASIDE)),
        origin={"weight_decay": f"{where}: weight_decay", "clip_norm": f"{where}: clip_max_norm"},
    )


def _unit(a: shared.Settings, length: int, epochs: int) -> Schedule:
    """The schedule of an lr of 1, with ``length`` steps to an epoch."""
    shape = a.choice("lr_scheduler", ("step", "cosine"))
    warm, least = length * a.number("warmup_epochs", low=0.0), a.number("lr_min_factor", low=0.0)
    total, drop = shared.as_count("epochs x updates", length * epochs), a.count("lr_drop") * length
    if shape == "step":
        after: Schedule = multi_step(1.0, at=[shared.as_count(a.at("lr_drop"), drop, 0)])
    elif warm != int(warm):
        raise ValueError(f"{a.at('warmup_epochs')} must be a whole number of updates with cosine, got {short(warm)}")
    else:
        wave = periodic_cosine(1.0, max(total - int(warm), 1), least)
        after = delayed(wave, by=int(warm)) if warm else wave
    return piecewise([linear(0.0, 1.0, max(warm, 1)), after], at=[math.ceil(warm)]) if warm else after


def _outputs(a: shared.Settings, model: str | None) -> list[int] | None:
    """The layers of the encoder that features are taken from."""
    given = a.counts("out_feature_indexes", [], least=0)
    if given or model is None:
        return given or None
    if model not in _OUTPUTS:
        raise ValueError(f"model must be one of {', '.join(_OUTPUTS)}, got {short(model)}")
    return list(_OUTPUTS[model])


def _average(a: shared.Settings) -> Value | None:
    """The decay of the average of the parameters."""
    used, decay = a.flag("use_ema"), a.number("ema_decay", low=0.0, high=1.0)
    steps = a.number("ema_tau", low=0.0)
    average: Value = exponential_ramp(decay, steps) if steps else decay
    return average if used else None
