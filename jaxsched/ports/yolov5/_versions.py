"""What differs between the releases of YOLOv5 and its forks, and which keys of their files tell them apart."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from jaxsched.checks import did_you_mean, short
from jaxsched.ports.shared import Curve


class Rules(NamedTuple):
    """What one version does.

    Attributes:
        curve: The curve where no option asks for another.
        options: Options of ``train.py`` that ask for another curve, and the curve.
        shortest: Iterations that warm-up takes at least.
        aligned: An update is at the iterations that ``accumulate`` divides; else ``accumulate`` after the last.
        clip_norm: The norm at which all gradients together are clipped.
        optimizers: The optimizers that can be chosen.
        amsgrad: Whether AdamW is AMSGrad's.
        undecayed: Parts of names of parameters that do not decay, beside norms and biases.
        fixed: Hyperparameters that are written in the code and not in the file.
    """

    curve: Curve
    options: Mapping[str, Curve] = {}
    shortest: int = 1000
    aligned: bool = True
    clip_norm: float | None = None
    optimizers: tuple[str, ...] = ("SGD", "Adam")
    amsgrad: bool = False
    undecayed: tuple[str, ...] = ()
    fixed: Mapping[str, float] = {}


_V31 = Rules("cosine")
_V30 = _V31._replace(fixed={"lrf": 0.2, "warmup_epochs": 3.0, "warmup_momentum": 0.9, "warmup_bias_lr": 0.1})
_V50 = _V31._replace(options={"linear_lr": "short line"})
_V60 = _V50._replace(aligned=False)
_V61 = _V60._replace(curve="line", options={"cos_lr": "cosine"}, optimizers=("SGD", "Adam", "AdamW"))
_V62 = _V61._replace(shortest=100, clip_norm=10.0)
_V9 = _V62._replace(
    options={"cos_lr": "cosine", "flat_cos_lr": "flat cosine", "fixed_lr": "flat"},
    optimizers=("SGD", "Adam", "AdamW", "LION"),
    amsgrad=True,
    undecayed=("implicit",),
)

VERSIONS: Mapping[str, Rules] = {
    "3.0": _V30,
    "3.1": _V31,
    "4.0": _V31,
    "5.0": _V50,
    "6.0": _V60,
    "6.1": _V61,
    "6.2": _V62,
    "7.0": _V62,
    "yolov7": _V50._replace(undecayed=("implicit", "logit_scale", "relative_position_bias_table")),
    "yolov9": _V9,
    "yolor": _V31._replace(undecayed=("implicit",)),
    "yolov5-face": _V31,
    "yolov5_obb": _V60,
}
"""The rules of each release of YOLOv5, and of each fork by its name."""

_RELEASES = ("3.0", "3.1", "4.0", "5.0", "6.0", "6.1", "6.2", "7.0")

_FORKS = {
    "yolov7": {"paste_in", "loss_ota", "v5_metric"},
    "yolov9": {"flat_cos_lr", "fixed_lr", "min_items", "dfl"},
    "yolov5-face": {"landmark"},
    "yolov5_obb": {"theta", "theta_pw", "cls_theta", "csl_radius"},
}
"""Keys that only a fork's files have."""

_SINCE = {
    "3.1": {"lrf", "warmup_epochs", "warmup_momentum", "warmup_bias_lr", "box", "image_weights"},
    "4.0": {"exist_ok", "project", "quad"},
    "5.0": {"linear_lr", "artifact_alias", "bbox_interval", "entity", "save_period", "upload_dataset"},
    "6.0": {"copy_paste", "freeze", "imgsz", "noval", "patience"},
    "6.1": {"cos_lr", "optimizer"},
    "6.2": {"seed", "noplots"},
}
"""Keys by the release that has them first."""
_BEFORE = {
    "3.1": {"giou"},
    "4.0": {"logdir"},
    "5.0": {"log_imgs", "log_artifacts"},
    "6.0": {"cache_images", "notest", "img_size"},
    "6.1": {"adam", "linear_lr"},
}
"""Keys by the release that has them no more."""


def known(version: Any) -> str:
    """The name of a version, as the user may write it: ``"v6.1"``, ``"6.1"`` or 6.1.

    Raises:
        ValueError: If there is no such version.
    """
    name = str(version).lower().removeprefix("v")
    name = {"7": "7.0", "6": "6.0", "5": "5.0", "4": "4.0", "3": "3.0"}.get(name, name)
    if name not in VERSIONS:
        raise ValueError(
            f"version must be one of {', '.join(VERSIONS)}, got {short(version)}{did_you_mean(name, VERSIONS)}"
        )
    return name


def candidates(hyp: Collection[str], options: Collection[str], said: Collection[str]) -> list[str]:
    """The versions that files may be of, the likeliest last.

    Args:
        hyp: The keys of the hyperparameters.
        options: The keys of the saved options of ``train.py``; none where only the hyperparameters are kept.
        said: Options that the user gives.
    """
    names = {*hyp, *options, *said}
    forks = [fork for fork, marks in _FORKS.items() if marks & names]
    if forks:
        return forks[:1]
    low = max((i for i, v in enumerate(_RELEASES) if _SINCE.get(v, set()) & names), default=0)
    high = min((i for i, v in enumerate(_RELEASES) if _BEFORE.get(v, set()) & names), default=len(_RELEASES))
    if set(options) >= _ALWAYS:  # then it has every option of its release, and one that is absent tells as much
        for release, keys in _SINCE.items():
            if (keys := keys - _OF_HYP) and not keys & set(options):
                high = min(high, max(_RELEASES.index(release), low + 1))
    if "lrf" not in names:
        high = min(high, 1)
    return list(_RELEASES[low:high]) or [_RELEASES[low]]


_ALWAYS = {"weights", "cfg", "data", "rect", "resume", "nosave", "multi_scale", "single_cls", "sync_bn", "workers"}
"""Options that every release saves."""
_OF_HYP = {"lrf", "warmup_epochs", "warmup_momentum", "warmup_bias_lr", "box", "copy_paste"}
"""Of the keys of `_SINCE` those that are hyperparameters: they stay away where a user leaves them out."""
