"""Which hyperparameters a run uses that names none."""

from pathlib import Path

import pytest

from examples.detector.options import HYP, SCENES_HYP, Options, read_hyp

PUBLISHED = {
    "lr0": 0.01, "lrf": 0.01, "momentum": 0.937, "weight_decay": 0.0005, "warmup_epochs": 3, "warmup_momentum": 0.8,
    "warmup_bias_lr": 0.1, "box": 0.05, "cls": 0.5, "cls_pw": 1, "obj": 1, "obj_pw": 1, "iou_t": 0.2, "anchor_t": 4,
    "fl_gamma": 0, "hsv_h": 0.015, "hsv_s": 0.7, "hsv_v": 0.4, "degrees": 0, "translate": 0.1, "scale": 0.5, "shear": 0,
    "perspective": 0, "flipud": 0, "fliplr": 0.5, "mosaic": 1, "mixup": 0, "copy_paste": 0,
}  # fmt: skip


def test_data_of_ones_own_is_trained_with_the_settings_that_yolov5_publishes():
    options = Options(data=Path("mine"))
    assert read_hyp(options.hyp) == PUBLISHED
    assert (options.epochs, options.image_size) == (100, 640)


def test_the_scenes_have_settings_of_their_own_in_ten_values():
    options = Options()
    assert (options.hyp, options.epochs, options.image_size) == (SCENES_HYP, 36, 128)
    own, published = read_hyp(SCENES_HYP), read_hyp(HYP)
    assert own.keys() == published.keys()
    differ = [name for name in own if own[name] != published[name]]
    assert differ == [
        "lr0",
        "warmup_epochs",
        "warmup_bias_lr",
        "box",
        "cls",
        "obj",
        "hsv_s",
        "scale",
        "fliplr",
        "mosaic",
    ]
    said = {
        line.split(":")[0]: line for line in SCENES_HYP.read_text().splitlines() if "(" in line and "#" not in line[:1]
    }
    assert all(f"({published[name]:g}" in said[name] or f"({published[name]}" in said[name] for name in differ)


@pytest.mark.parametrize("data", [None, Path("mine")])
def test_what_is_given_is_used(data):
    options = Options(data=data, hyp=Path("other.yaml"), epochs=7, image_size=320)
    assert (options.hyp, options.epochs, options.image_size) == (Path("other.yaml"), 7, 320)
