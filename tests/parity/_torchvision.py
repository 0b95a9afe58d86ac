"""torchvision's wheels ask for CUDA when its operators load; where torch is the CPU build, its Python part suffices."""

import importlib.util

import torch


def declare_operators() -> None:
    """Declare the operators that ``import torchvision`` registers fakes for, where its library does not load."""
    if importlib.util.find_spec("torchvision") is None or hasattr(torch.ops.torchvision, "nms"):
        return
    library = torch.library.Library("torchvision", "FRAGMENT")
    for signature in (
        "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
        "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    ):
        library.define(signature)
    _kept.append(library)


_kept: list[torch.library.Library] = []
"""A library's declarations end with it."""
