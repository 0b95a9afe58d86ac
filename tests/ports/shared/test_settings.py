"""The one reader of settings: its checks, and what becomes of settings that nobody took."""

import pytest

from jaxsched.ports.shared import Settings
from jaxsched.recipe import cautions

DEFAULTS = dict(lr0=0.1, warmup_epochs=3, momentum=0.9, cos_lr=False, clip=None)


def settings(**values):
    return Settings("args", values, DEFAULTS)


@pytest.mark.parametrize(
    ("take", "message"),
    [
        (lambda: settings(lr0="fast").number("lr0"), "args: lr0 must be a number, got the string 'fast'"),
        (lambda: settings(lr0=True).number("lr0"), "args: lr0 must be a number, got True"),
        (lambda: settings(lr0=None).number("lr0"), "args: lr0 must be a number, got None"),
        (lambda: settings(lr0=float("nan")).number("lr0"), "args: lr0 must be finite, got nan"),
        (lambda: settings(lr0=10**400).number("lr0"), "args: lr0 must be finite, got an integer of about"),
        (lambda: settings(lr0=-1).number("lr0", low=0.0), r"args: lr0 must be in \[0.0, inf\], got -1"),
        (lambda: settings(lr0=0).positive("lr0"), "args: lr0 must be positive"),
        (lambda: settings(momentum=1).beta("momentum"), r"args: momentum must be in \[0.0, 1.0\), got 1"),
        (lambda: settings(warmup_epochs=1.5).count("warmup_epochs"), "args: warmup_epochs must be a whole number"),
        (lambda: settings(cos_lr="yes").flag("cos_lr"), "args: cos_lr must be true or false, got 'yes'"),
        (lambda: settings(at=3).numbers("at"), "args: at must be a list of numbers, got 3"),
        (lambda: settings(at=["x" * 10**6]).counts("at"), r"args: at\[0\] must be a number, got the string 'xxxxx"),
        (lambda: settings().number("lrf"), "args: 'lrf' is missing; add it"),
        (lambda: settings(lrF=1).number("lrf"), "args: 'lrf' is missing; is 'lrF' meant for it"),
        (lambda: settings(lrO=1).finish(), "args: 'lrO' is not known; did you mean 'lr0'"),
        (lambda: Settings("args", [1]), r"args must hold names and values, got \[1\]"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value_on_one_line(take, message):
    with pytest.raises((TypeError, ValueError), match=message) as error:
        take()
    assert len(str(error.value)) < 200


def test_defaults_strings_and_none():
    given = settings(lr0="5e-4", clip=None)
    assert given.number("lr0") == 5e-4
    assert given.number("clip") is None
    assert given.count("warmup_epochs") == 3
    assert given.number("other", 2.0) == 2.0


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("lrO", 0.1, "misspelt-key"),
        ("warmup_epoch", 3, "misspelt-key"),
        ("Momentum", 0.9, "misspelt-key"),
        ("paste_in", 0.1, "unknown-key"),
        ("bn_momentum", 0.1, "unknown-key"),
        ("anchors", 3, None),
        ("head_lr", None, None),
    ],
)
def test_an_unknown_setting_is_left_out_and_said(name, value, code):
    found = cautions(settings(**{name: value}).rest(aside=["anchors"]))
    assert [found_code for found_code, _ in found] == ([code] if code else [])
    assert all(name in text for _, text in found)


@pytest.mark.parametrize("name", ["head_lr", "lr_decay_type", "text_encoder_learning_rate", "my_scheduler", "warmup"])
def test_an_unknown_setting_that_changes_the_schedule_is_an_error(name):
    with pytest.raises(ValueError, match=f"args: {name!r} is not known, and its name says that it changes the"):
        settings(**{name: 0.1}).rest()


def test_names_of_which_half_is_the_same_are_not_misspelt():
    sections = Settings("the config", {"output_config": None, "momentun_config": None})
    sections.take("momentum_config", None)
    assert sections.misspelt() == {"momentun_config": "momentum_config"}
