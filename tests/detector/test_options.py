"""What of a run is compared with what it began with, and what is refused before it starts."""

import re

import pytest

from examples.detector.augment import Augmentation
from examples.detector.loss import Gains
from examples.detector.options import HYP, SCENES_HYP, Options, check_the_same, left_out, read_hyp


def test_every_option_that_decides_a_run_is_compared(tmp_path):
    base = Options()
    (tmp_path / "hyp.yaml").write_text(SCENES_HYP.read_text().replace("lr0: 0.02", "lr0: 0.03"))
    (tmp_path / "same.yaml").write_text(SCENES_HYP.read_text())
    for changes, said in (
        ({"epochs": 40}, "--epochs 36 .now 40."), ({"bf16": True}, "--bf16 False .now True."),
        ({"freeze": ("backbone/**",)}, "--freeze"), ({"size": "s"}, "--width 0.25 .now 0.5."),
        ({"hyp": tmp_path / "hyp.yaml"}, "--hyp: lr0 0.02 .now 0.03."), ({"fused": False}, "--fused True .now False."),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=said):
            check_the_same(Options(**changes).decisive(), base.decisive())
    free = {"workers": 3, "out": tmp_path, "tensorboard": True, "patience": 5, "hyp": tmp_path / "same.yaml"}
    check_the_same(Options(**free).decisive(), base.decisive())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("lr0: abc", "lr0 is 'abc'; it must be a number"), ("- 1", "must hold lines such as 'lr0: 0.01'"),
        ("a: [", "is no YAML"), ("a: " + "x" * 10_000, "must be a number"),
    ],
)  # fmt: skip
def test_a_wrong_hyp_is_refused(tmp_path, content, words):
    (tmp_path / "hyp.yaml").write_text(content)
    with pytest.raises(ValueError, match=words) as caught:
        read_hyp(tmp_path / "hyp.yaml")
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("name", "value"),
    [("box", float("nan")), ("fl_gamma", -1), ("anchor_t", 0), ("label_smoothing", 1), ("mosaic", 7), ("fliplr", -1),
     ("scale", 2), ("degrees", float("inf")), ("hsv_h", -3)],
)  # fmt: skip
def test_a_number_of_the_hyp_out_of_its_range_is_refused(name, value):
    hyp = read_hyp(HYP) | {name: value}
    with pytest.raises(ValueError, match=f"hyp: {name} is {value:g}; it must be from"):
        Gains.from_hyp(hyp, classes=10, image_size=64), Augmentation.from_hyp(hyp)


def test_what_of_a_hyp_is_left_out_is_said():
    assert left_out(read_hyp(HYP)) == left_out(read_hyp(SCENES_HYP)) == []
    said = left_out({"copy_paste": 0.1, "anchors": 4})
    assert "copy_paste 0.1 is left out: it needs outlines" in said[0]
    assert "anchors 4 is left out: the head has 3" in said[1]


def test_numbers_that_yaml_takes_for_strings_are_numbers(tmp_path):
    (tmp_path / "hyp.yaml").write_text("weight_decay: 5e-4")
    assert read_hyp(tmp_path / "hyp.yaml") == {"weight_decay": 5e-4}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"process": 0}, "--process: used only with --distributed"),
        ({"distributed": True, "coordinator": "a:1", "processes": 2}, "only --coordinator --processes given"),
        ({"distributed": True, "coordinator": "a:1", "processes": 2, "process": 2}, "--process is 2; it must be from"),
        ({"image_size": 100}, "--image-size is 100"), ({"epochs": 0}, "--epochs is 0"),
        ({"batch_size": -1}, "--batch-size is -1"), ({"body_rate": 0.0}, "--body-rate is 0.0"),
        ({"save_period": -1}, "--save-period is -1"), ({"cache": float("nan")}, "--cache is nan"),
    ],
)  # fmt: skip
def test_wrong_options_are_refused(changes, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        Options(**changes)


def test_compiled_programs_are_in_the_users_cache():
    folder = Options().compilation_cache
    assert folder.is_absolute()
    assert folder.parts[-2:] == ("jaxsched", "compiled")
