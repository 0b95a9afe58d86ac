"""The arguments in an args.yaml of Ultralytics, checked, and the releases that they may be of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jaxsched.checks import short
from jaxsched.ports import shared
from jaxsched.ports.ultralytics._releases import candidates, parse, rules_of
from jaxsched.recipe import caution

DEFAULTS: Mapping[str, Any] = {
    "optimizer": "auto",
    "epochs": 100,
    "batch": 16,
    "nbs": 64,
    "lr0": 0.01,
    "lrf": 0.01,
    "cos_lr": False,
    "momentum": 0.937,
    "weight_decay": 0.0005,
    "warmup_epochs": 3.0,
    "warmup_momentum": 0.8,
    "warmup_bias_lr": 0.1,
    "time": None,
}
"""What Ultralytics' arguments that a recipe is made of are where args.yaml says nothing."""
_OTHERS_TEXT = """
    task mode model data patience v5loader line_thickness hide_labels hide_conf boxes image_weights fl_gamma
    min_memory end2end imgsz save save_period cache device workers project name exist_ok pretrained
    cls_remap verbose seed deterministic single_cls rect close_mosaic resume amp fraction profile multi_scale
    compile channels_last overlap_mask mask_ratio dropout val split save_json save_hybrid conf iou max_det half
    quantize dnn plots nms source vid_stride stream_buffer visualize augment augmentations agnostic_nms classes
    retina_masks embed show save_frames save_txt save_conf save_crop show_labels show_conf show_boxes line_width
    format keras int8 optimize dynamic simplify opset workspace distill_model dis box cls cls_pw dfl pose kobj rle
    angle dlog dgrad dlam label_smoothing hsv_h hsv_s hsv_v degrees translate scale shear perspective flipud fliplr
    bgr mosaic mixup cutmix copy_paste copy_paste_mode auto_augment erasing crop_fraction cfg tracker save_dir
"""
_OTHERS = tuple(_OTHERS_TEXT.split())
"""Arguments of data, loss, validation, prediction and export."""
_OPTIMIZERS = {
    name.lower(): name for name in ("Adam", "Adamax", "AdamW", "NAdam", "RAdam", "RMSprop", "SGD", "MuSGD", "auto")
}


def read_args(
    args: Any, over: Mapping[str, Any], version: str | None = None
) -> tuple[str, dict[str, Any], list[str], list[str]]:
    """What to call a file in errors, its checked arguments, the releases it may be of (latest last), and notes."""
    where, given = shared.read(args, "args")
    given = {name: None if str(value).lower() == "none" else value for name, value in given.items()}  # default.yaml's
    given |= {name: value for name, value in over.items() if value is not None}
    settings = shared.Settings(where, given, DEFAULTS)
    notes = _frozen(where, settings)
    a = _checked(settings)
    return where, a, _possible(given, a["optimizer"], version), [*notes, *settings.rest(aside=_OTHERS)]


def _possible(given: Mapping[str, Any], optimizer: str, version: Any) -> list[str]:
    """The releases that the settings may be of, the latest last."""
    if version is not None:
        return [".".join(map(str, parse(version)))]
    found = candidates(set(given))
    if optimizer == "auto" and "optimizer" in given:
        found = [release for release in found if rules_of(release).auto] or found
    if optimizer == "MuSGD":
        found = [release for release in found if rules_of(release).muon] or found
    return found


def _frozen(where: str, settings: shared.Settings) -> list[str]:
    """A caution where layers are frozen: which parameters these are, the file does not say."""
    value = settings.take("freeze", None)
    if value is None or value == 0 or value == []:
        return []
    said = f"layers {short(value)}" if isinstance(value, list) else f"the first {short(value)} layers"
    return [
        caution(
            "freeze",
            f"{where}: freeze freezes {said} there and nothing here; put rules for them first, "
            "('backbone/**', 'frozen'), and groups={'frozen': None}",
        )
    ]


def _checked(settings: shared.Settings) -> dict[str, Any]:
    if (hours := settings.take("time")) is not None:
        raise ValueError(
            f"{settings.where}: time={short(hours)} makes the length depend on the machine; set epochs and no time"
        )
    optimizer = settings.take("optimizer")
    if (name := str(optimizer).lower()) not in _OPTIMIZERS:
        raise ValueError(
            f"{settings.at('optimizer')} must be one of {', '.join(_OPTIMIZERS.values())}, got {short(optimizer)}"
        )
    batch = settings.number("batch")
    if batch < 1:
        raise shared.MissingError(settings.where, f"batch={batch!r} leaves it to Ultralytics", ["batch_size"])
    return {
        "optimizer": _OPTIMIZERS[name],
        "cos_lr": settings.flag("cos_lr"),
        "batch": shared.as_count(settings.at("batch"), batch),
        **{field: settings.count(field, least=1) for field in ("epochs", "nbs")},
        **{
            field: settings.number(field, low=0.0)
            for field in ("lr0", "lrf", "weight_decay", "warmup_epochs", "warmup_bias_lr")
        },
        **{field: settings.beta(field) for field in ("momentum", "warmup_momentum")},
    }
