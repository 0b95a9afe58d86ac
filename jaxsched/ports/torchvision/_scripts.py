"""The arguments of torchvision's reference scripts, and which script some arguments belong to."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from jaxsched.checks import short
from jaxsched.ports import shared

_ALL: Mapping[str, Any] = {"momentum": 0.9, "weight_decay": 1e-4, "world_size": 1}
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "classification": {
        **_ALL,
        "batch_size": 32,
        "epochs": 90,
        "opt": "sgd",
        "lr": 0.1,
        "norm_weight_decay": None,
        "bias_weight_decay": None,
        "transformer_embedding_decay": None,
        "lr_scheduler": "steplr",
        "lr_warmup_epochs": 0,
        "lr_warmup_method": "constant",
        "lr_warmup_decay": 0.01,
        "lr_step_size": 30,
        "lr_gamma": 0.1,
        "lr_min": 0.0,
        "model_ema": False,
        "model_ema_steps": 32,
        "model_ema_decay": 0.99998,
        "clip_grad_norm": None,
        "ra_sampler": False,
    },
    "detection": {
        **_ALL,
        "batch_size": 2,
        "epochs": 26,
        "opt": "sgd",
        "lr": 0.02,
        "norm_weight_decay": None,
        "lr_scheduler": "multisteplr",
        "lr_steps": [16, 22],
        "lr_gamma": 0.1,
    },
    "segmentation": {
        **_ALL,
        "batch_size": 8,
        "epochs": 30,
        "lr": 0.01,
        "aux_loss": False,
        "lr_warmup_epochs": 0,
        "lr_warmup_method": "linear",
        "lr_warmup_decay": 0.01,
    },
    "video_classification": {
        **_ALL,
        "batch_size": 24,
        "epochs": 45,
        "lr": 0.01,
        "lr_milestones": [20, 30, 40],
        "lr_gamma": 0.1,
        "lr_warmup_epochs": 10,
        "lr_warmup_method": "linear",
        "lr_warmup_decay": 0.001,
    },
}
"""The arguments that a recipe is made of, by script, with the values that its parser gives them."""
_SHARED_TEXT = """
    data_path model device workers print_freq output_dir resume start_epoch test_only dist_url amp weights pretrained
    use_deterministic_algorithms rank gpu distributed dist_backend
"""
_OWN_TEXT = {
    "classification": """
        label_smoothing mixup_alpha cutmix_alpha cache_dataset sync_bn auto_augment ra_magnitude augmix_severity
        random_erase interpolation val_resize_size val_crop_size train_crop_size ra_reps backend use_v2 apex
        apex_opt_level
    """,
    "detection": """
        dataset lr_step_size aspect_ratio_group_factor rpn_score_thresh trainable_backbone_layers data_augmentation
        sync_bn prototype weights_backbone use_copypaste backend use_v2
    """,
    "segmentation": "dataset prototype weights_backbone backend use_v2",
    "video_classification": """
        train_dir val_dir kinetics_version clip_len frame_rate clips_per_video cache_dataset sync_bn val_resize_size
        val_crop_size train_resize_size train_crop_size prototype apex apex_opt_level
    """,
}
ASIDE = {script: frozenset(f"{_SHARED_TEXT} {own}".split()) for script, own in _OWN_TEXT.items()}
"""Arguments that do not change the recipe; detection reads no ``lr_step_size``, although it has one."""
SCHEDULERS = {
    "classification": ("steplr", "cosineannealinglr", "exponentiallr"),
    "detection": ("multisteplr", "cosineannealinglr"),
}
_MODELS = {
    "detection": r".*rcnn|retinanet|fcos|ssd",
    "segmentation": r"fcn_|deeplabv3|lraspp",
    "video_classification": r"r3d_|mc3_|r2plus1d_|s3d|mvit_|swin3d_",
}
"""How the names of the models begin; others classify images."""
_FLAGS_TEXT = """
    model_ema ra_sampler amp cache_dataset sync_bn test_only use_deterministic_algorithms aux_loss pretrained prototype
    use_copypaste use_v2 apex
"""
_FLAGS = frozenset(_FLAGS_TEXT.split())
_LISTS = ("lr_steps", "lr_milestones")


def settings(words: Sequence[str]) -> Mapping[str, Any]:
    """The arguments that a command line gives."""
    known = sorted({"wd"}.union(*DEFAULTS.values(), *ASIDE.values()))
    found: dict[str, Any] = shared.parse_words(words, known, _FLAGS, {"b": "batch_size", "j": "workers"})
    if "wd" in found:
        found["weight_decay"] = found.pop("wd")
    return {name: [value] if name in _LISTS and isinstance(value, int) else value for name, value in found.items()}


def script_of(where: str, values: Any, script: str | None) -> str:
    """The script whose arguments these are: the one given, or the only one that has such arguments."""
    if script is not None:
        if script not in DEFAULTS:
            raise ValueError(f"script must be one of {', '.join(DEFAULTS)}, got {short(script)}")
        return script
    given = dict(values) if isinstance(values, Mapping) else {}
    names = given.keys() & set().union(*DEFAULTS.values(), *ASIDE.values())
    fits = [script for script in DEFAULTS if names <= DEFAULTS[script].keys() | ASIDE[script]]
    model, scheduler = given.get("model"), given.get("lr_scheduler")
    if isinstance(scheduler, str) and any(scheduler.lower() in known for known in SCHEDULERS.values()):
        fits = [script for script in fits if scheduler.lower() in SCHEDULERS[script]]
    if isinstance(model, str):
        task = next((task for task, begins in _MODELS.items() if re.match(begins, model)), "classification")
        fits = [script for script in fits if script == task] or fits
    if len(fits) == 1:
        return fits[0]
    why = f"it may be of the script for {', '.join(fits)}" if fits else "no script has all of these arguments"
    raise shared.MissingError(where, why, ("script",))
