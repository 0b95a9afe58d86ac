"""The training loops of Ultralytics' releases, written out; and which releases a file can be of."""

import numpy as np
import pytest

import jaxsched as js
from jaxsched.ports.ultralytics._versions import _ARGUMENTS, NEWEST, OLDEST, distinct, span, written

ARGS = dict(optimizer="SGD", lr0=0.01, lrf=0.05, momentum=0.937, warmup_momentum=0.8, warmup_bias_lr=0.1)


def loop(version, epochs, batches, batch, warmup_epochs):
    """(lr of weights, lr of biases, momentum, whether an update) of each iteration."""
    at = tuple(map(int, version.split(".")))
    late, floor = at < (8, 1, 42), at < (8, 4, 103)
    if floor:
        warm = max(round(warmup_epochs * batches), 100)
        if at >= (8, 0, 162) and warmup_epochs <= 0:
            warm = -1
    else:
        warm = round(min(warmup_epochs, epochs - 1) * batches) or -1
    nominal = max(round(64 / batch), 1)
    target = nominal if at >= (8, 4, 183) else 64 / batch
    swapped = (8, 4, 0) <= at < (8, 4, 3)

    def factor(epoch):
        return (1 - epoch / epochs) * (1 - ARGS["lrf"]) + ARGS["lrf"]

    lr = bias = ARGS["lr0"]
    momentum, every, last, rows = ARGS["momentum"], nominal, -1, []
    for epoch in range(epochs):
        if not late:
            lr = bias = ARGS["lr0"] * factor(epoch)
        for i in range(batches):
            step = i + batches * epoch
            if step <= warm:
                every = max(1, int(np.interp(step, [0, warm], [1, target]).round()))
                ends = [
                    (ARGS["warmup_bias_lr"] if x else 0.0, ARGS["lr0"] * factor(epoch)) for x in (swapped, not swapped)
                ]
                lr, bias = (np.interp(step, [0, warm], pair) for pair in ends)
                momentum = np.interp(step, [0, warm], [ARGS["warmup_momentum"], ARGS["momentum"]])
            due = step - last >= every
            last = step if due else last
            rows.append((lr, bias, momentum, due))
        if late:
            lr = bias = ARGS["lr0"] * factor(epoch)
    return [np.asarray(column) for column in zip(*rows, strict=True)]


VERSIONS = [
    "8.0.120",
    "8.0.200",
    "8.1.41",
    "8.1.42",
    "8.2.6",
    "8.3.40",
    "8.4.1",
    "8.4.3",
    "8.4.102",
    "8.4.103",
    "8.4.190",
]


@pytest.mark.parametrize("warmup_epochs", [3.0, 0.0])
@pytest.mark.parametrize(("epochs", "batches", "batch"), [(30, 5, 8), (6, 90, 24)])
@pytest.mark.parametrize("version", VERSIONS)
def test_every_iteration_of_a_release(version, epochs, batches, batch, warmup_epochs):
    args = ARGS | dict(epochs=epochs, batch=batch, warmup_epochs=warmup_epochs)
    recipe = js.ports.ultralytics.recipe(args, steps_per_epoch=batches, version=version)
    lr, bias, momentum, due = loop(version, epochs, batches, batch, warmup_epochs)
    curves = js.curves(recipe)
    # A few ulp of float32; near the end of a line those of lr0.
    np.testing.assert_allclose(curves["weight"]["lr"], lr, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(curves["bias"]["lr"], bias, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(curves["weight"]["momentum"], momentum, rtol=1e-6)
    np.testing.assert_array_equal(js.report.update_steps(recipe), due)
    drops = recipe.accumulate is not None and recipe.accumulate.drop_at_epoch_end
    assert drops == (version < "8.2.7")


@pytest.mark.parametrize(
    ("version", "long", "short"),
    [
        ("8.0.113", "sgd", "nadam"),
        ("8.3.40", "sgd", "adamw"),
        ("8.4.90", "musgd", "adamw"),
        ("8.4.190", "musgd", "adamw"),
    ],
)
def test_auto_by_release(version, long, short):
    made = [
        js.ports.ultralytics.recipe(
            dict(optimizer="auto", epochs=100, batch=16),
            images=images, classes=80, outputs="last", version=version,
        ).optimizer
        for images in (64_000, 640)
    ]  # fmt: skip
    assert made == [long, short]


def test_musgd_of_the_releases_that_had_other_coefficients_is_refused():
    with pytest.raises(ValueError, match=r"MuSGD before 8\.4\.8"):
        js.ports.ultralytics.recipe(dict(optimizer="MuSGD"), steps_per_epoch=9, outputs="last", version="8.4.5")


@pytest.mark.parametrize(
    ("arguments", "low", "high"),
    [
        ({"lr0"}, OLDEST, NEWEST),
        ({"save_hybrid", "label_smoothing", "crop_fraction"}, (8, 0, 233), (8, 3, 37)),
        ({"end2end"}, (8, 4, 8), (8, 4, 141)),
        ({"time"}, (8, 0, 228), NEWEST),
        ({"cutmix", "label_smoothing"}, OLDEST, NEWEST),  # no release had both
        ({*(name for name, (_, last) in _ARGUMENTS.items() if not last), *map(str, range(60))}, (8, 4, 164), NEWEST),
    ],
)
def test_the_arguments_date_a_file(arguments, low, high):
    assert span(arguments) == (low, high)


def test_an_open_version_is_said_with_what_differs():
    recipe = js.ports.ultralytics.recipe(ARGS | dict(epochs=30, batch=8), steps_per_epoch=5)
    (note,) = [note for note in recipe.notes if "version-open" in note]
    assert "read as Ultralytics 8.4.190" in note
    assert "as 8.4.102 or earlier: lr differs at " in note
    assert [f.code for f in js.lint(recipe) if f.code == "version-open"]
    told = js.ports.ultralytics.recipe(ARGS | dict(epochs=30, batch=8), steps_per_epoch=5, version="8.3.0")
    assert not [note for note in told.notes if "version-open" in note]


def test_what_no_release_differs_in_is_not_said():
    recipe = js.ports.ultralytics.recipe(ARGS | {"end2end": None, "batch": 16}, steps_per_epoch=500)
    assert not [note for note in recipe.notes if "version-open" in note]


def test_releases_are_in_order():
    found = distinct(OLDEST, NEWEST)
    assert found == sorted(found, reverse=True)
    assert written(found[0]) == "8.4.190"
    assert len(found) == len(set(found))


@pytest.mark.parametrize("version", ["7", "8.0.1", "latest", "8.4"])
def test_what_is_no_release_is_an_error(version):
    with pytest.raises(ValueError, match=r"version must be a release from 8\.0\.100 on"):
        js.ports.ultralytics.recipe(ARGS, steps_per_epoch=9, version=version)
