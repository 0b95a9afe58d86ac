"""Which files are YOLOv5's."""

from __future__ import annotations

from jaxsched.ports import shared
from jaxsched.ports.yolov5._recipe import recipe, versions_of
from jaxsched.ports.yolov5._solve import solve


def _is_hyp(file: shared.File) -> bool:
    """An args.yaml of Ultralytics has ``lr0`` and ``warmup_bias_lr`` too, beside the length of the run."""
    own = {"warmup_bias_lr", "obj", "obj_pw", "anchor_t", "giou"} & file.names
    return "lr0" in file.names and bool(own) and not {"task", "mode", "nbs", "batch"} & file.names


def _is_opt(file: shared.File) -> bool:
    return {"hyp", "epochs"} <= file.names and bool({"batch_size", "total_batch_size", "weights"} & file.names)


def _mislabelled(file: shared.File) -> dict[str, str]:
    """yolov5-face logs four losses under three names, so that each column behind them holds what belongs one before."""
    one_late = "yolov5-face logs its columns one late: it is a loss; the lr of biases is not logged"
    return {"x/lr0": one_late} if versions_of(file) == ["yolov5-face"] else {}


KINDS = (
    shared.Kind(
        "yolov5",
        "a hyp.yaml or opt.yaml of YOLOv5",
        lambda file: _is_hyp(file) or _is_opt(file),
        recipe,
        ("opt.yaml", "hyp.yaml"),
        solve=solve,
        mislabelled=_mislabelled,
    ),
)
