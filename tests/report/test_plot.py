"""What is in the pictures: axes, curves, marks. How they look was judged by eye."""

import numpy as np
import pytest

import jaxsched as js

HYP = dict(
    lr0=0.01, lrf=0.01, momentum=0.937, weight_decay=5e-4, warmup_epochs=3.0, warmup_momentum=0.8, warmup_bias_lr=0.1
)
YOLO = js.ports.yolov5.recipe(HYP, epochs=300, steps_per_epoch=7393, batch_size=16, version="7.0")
ONE_X = js.Recipe(
    "sgd",
    dict(lr=js.warmup(js.per_epoch(js.multi_step(0.02, at=(8, 11)), 7330), 500), momentum=0.9, weight_decay=1e-4),
    rules=[("**", "all")],
    steps=12 * 7330,
    steps_per_epoch=7330,
)


def panels(figure):
    return {axis.get_label(): axis for axis in figure.axes}


def marks(axis, name):
    return [artist for artist in [*axis.lines, *axis.patches] if artist.get_gid() == name]


def test_the_curves_are_the_recipes():
    figure = js.plot(YOLO)
    axes = panels(figure)
    assert list(axes) == ["lr", "momentum", "weight_decay", "accumulate", "ema"]
    for name, of_group in (
        ("lr", {"bias": "bias", "norm, weight": "weight"}),
        ("momentum", {"bias, norm, weight": "norm"}),
    ):
        drawn = {line.get_label(): line for line in axes[name].lines if line.get_gid() is None}
        assert set(drawn) == set(of_group)
        for label, group in of_group.items():
            steps = drawn[label].get_xdata()
            assert (steps[0], steps[-1]) == (0, YOLO.steps - 1)
            assert {0, 1, 22178, 22179, 29571, 29572} <= set(steps.tolist())
            np.testing.assert_array_equal(drawn[label].get_ydata(), js.curves(YOLO, steps)[group][name])
    every = axes["accumulate"].lines[0]
    assert (every.get_ydata()[0], every.get_ydata()[-1]) == (1, 4)
    average = axes["ema"].lines[0]
    np.testing.assert_allclose(average.get_ydata()[-1], 1e-4, rtol=1e-3)
    assert axes["ema"].get_yscale() == "log"


def test_warm_up_and_milestones_are_marked():
    top = panels(js.plot(ONE_X))["lr"]
    (warm,) = marks(top, "warm-up")
    assert (warm.get_x(), warm.get_x() + warm.get_width()) == (0, 500)
    assert [line.get_xdata()[0] for line in marks(top, "milestone")] == [8 * 7330, 11 * 7330]
    assert {"warm-up to 500", "epoch 8", "epoch 11"} <= {text.get_text() for text in top.texts}


def test_epochs_are_a_second_axis():
    top = panels(js.plot(ONE_X))["lr"]
    (epoch,) = top.child_axes
    assert epoch.get_xlabel() == "epoch"
    figure = top.figure
    figure.draw_without_rendering()
    np.testing.assert_allclose(np.asarray(epoch.get_xlim()) * 7330, top.get_xlim())


@pytest.mark.parametrize(
    ("recipe", "log", "scale"),
    [(ONE_X, None, "log"), (ONE_X, False, "linear"), (YOLO, None, "log"), (YOLO, False, "linear")]
    + [(ONE_X.replace(hyperparameters=dict(lr=js.cosine(0.1, 12 * 7330))), log, scale)
       for log, scale in ((None, "linear"), (True, "log"))],
)  # fmt: skip
def test_the_scale_is_chosen_or_said(recipe, log, scale):
    top = panels(js.plot(recipe, log=log))["lr"]
    assert top.get_yscale() == scale
    low, high = top.get_ylim()
    settled = js.curves(recipe, np.linspace(0.1 * recipe.steps, 0.98 * recipe.steps, 50).astype(int))
    for values in settled.values():
        assert low <= values["lr"].min()
        assert values["lr"].max() <= high


def test_two_hundred_groups_have_a_bar_of_colours_and_no_legend():
    names = [f"layer{i}" for i in range(200)]
    lr = js.warmup(js.cosine(1.0, 5000, floor=0.01), 500)
    recipe = js.Recipe(
        "adamw", dict(lr=0.1), groups={name: dict(lr=0.97**i * lr) for i, name in enumerate(names)},
        rules=[(name, name) for name in names], steps=5000,
    )  # fmt: skip
    axes = panels(js.plot(recipe))
    assert len([line for line in axes["lr"].lines if line.get_gid() is None]) == 200
    assert axes["lr"].get_legend() is None
    ticks = [text.get_text() for text in axes["lr groups"].get_yticklabels()]
    assert (ticks[0], ticks[-1]) == ("layer199", "layer0")
    colors = {
        line.get_color() if isinstance(line.get_color(), str) else tuple(line.get_color()) for line in axes["lr"].lines
    }
    assert len(colors) == 200


def test_recipes_over_each_other():
    other = ONE_X.replace(hyperparameters=dict(lr=js.cosine(0.02, 12 * 7330), momentum=0.9))
    axes = panels(js.plot({"step": ONE_X, "cosine": other}))
    drawn = {line.get_label(): line for line in axes["lr"].lines}
    assert set(drawn) == {"step", "cosine"}
    for name, recipe in (("step", ONE_X), ("cosine", other)):
        expected = js.curves(recipe, drawn[name].get_xdata())["all"]["lr"]
        np.testing.assert_array_equal(drawn[name].get_ydata(), expected)
    assert drawn["step"].get_color() != drawn["cosine"].get_color()
    assert [text.get_text() for text in axes["lr"].get_legend().get_texts()] == ["step", "cosine"]


@pytest.mark.parametrize(("suffix", "begins"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_files(tmp_path, suffix, begins):
    path = tmp_path / f"recipe.{suffix}"
    js.plot(ONE_X, path=path)
    assert path.read_bytes().startswith(begins)


def test_what_cannot_be_drawn(tmp_path):
    with pytest.raises(ValueError, match=r"\.png, \.svg, \.pdf"):
        js.plot(ONE_X, path=tmp_path / "recipe.jpeg")
    with pytest.raises(ValueError, match="no recipe"):
        js.plot({})
    with pytest.raises(ValueError, match="every group is frozen"):
        js.plot(ONE_X.replace(groups={"all": None}))


def test_without_a_length():
    axes = panels(js.plot(js.Recipe("sgd", dict(lr=js.warmup(0.1, 200)))))
    assert axes["lr"].lines[0].get_xdata()[-1] == 999


def test_a_schedule_alone_is_shown_up_to_its_end():
    figure = js.plot(js.warmup(js.cosine(0.1, 200), 20))
    assert panels(figure)["lr"].lines[0].get_xdata()[-1] == 249
    assert figure.axes[0].get_title(loc="left") == "warmup(cosine(peak=0.1, steps=200, floor=0.0), steps=20, start=0.0)"


def test_a_constant_ema_is_shown_without_the_rounding_of_float32():
    (line,) = panels(js.plot(js.Recipe("sgd", dict(lr=0.1), ema=0.99, steps=9)))["ema"].lines
    assert line.get_ydata()[0] == 1 - 0.99
