"""Which files are Ultralytics'."""

from __future__ import annotations

from jaxsched.ports import shared
from jaxsched.ports.ultralytics._recipe import recipe
from jaxsched.ports.ultralytics._solve import solve


def _is_args(file: shared.File) -> bool:
    marks = {"task", "mode"} <= file.names or bool({"imgsz", "nbs", "batch", "close_mosaic"} & file.names)
    return marks and bool({"epochs", "lr0", "batch", "nbs"} & file.names) and "hyp" not in file.names


KINDS = (shared.Kind("ultralytics", "an args.yaml of Ultralytics", _is_args, recipe, ("args.yaml",), solve=solve),)
