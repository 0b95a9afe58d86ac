"""Ultralytics' releases: each set of rules against a plain loop; which keys are of which; what is left open."""

from pathlib import Path

import numpy as np
import pytest

import jaxsched as js
from jaxsched.ports import ultralytics
from jaxsched.ports.ultralytics._releases import CHANGES, candidates, rules_of
from jaxsched.recipe import cautions

CASES = Path(__file__).parents[2] / "recorded" / "cases"
# Of each release: fewest iterations of warm-up, one epoch late, dropped at an epoch's end, capped, climbs to a round
# number. tests/parity runs the releases themselves.
RULES = {
    "8.0.100": (100, True, True, False, False),
    "8.1.41": (100, True, True, False, False),
    "8.1.42": (100, False, True, False, False),
    "8.2.6": (100, False, True, False, False),
    "8.2.8": (100, False, False, False, False),
    "8.3.253": (100, False, False, False, False),
    "8.4.0": (100, False, False, False, False),
    "8.4.102": (100, False, False, False, False),
    "8.4.103": (0, False, False, False, False),
    "8.4.177": (0, False, False, True, False),
    "8.4.190": (0, False, False, True, True),
}

OPEN = ("8.4.103", "8.4.177")
"""Releases whose warm-up leaves out its last iteration."""


def run_loop(release, epochs, nb, batch, warmup_epochs=3.0):
    shortest, late, drop, capped, rounded = RULES[release]
    del drop  # the positions of updates do not depend on it
    if shortest:
        nw = max(round(warmup_epochs * nb), shortest)
    else:
        nw = round(min(warmup_epochs, epochs - 1) * nb)
    lf = [0.01 * (1 - 0.99 * e / epochs) for e in range(epochs)]
    accumulate = most = min(max(round(64 / batch), 1), nb * epochs if capped else 64)
    last = -1
    lr = [lf[0], lf[0]]
    seen, updates = [], []
    for e in range(epochs):
        if not late:
            lr = [lf[e]] * 2
        for ni in range(e * nb, (e + 1) * nb):
            if (ni < nw if release in OPEN else ni <= nw) and nw:
                target = most if rounded else 64 / batch
                accumulate = max(1, int(np.interp(ni, [0, nw], [1, target]).round()))
                lr = [np.interp(ni, [0, nw], [start, lf[e]]) for start in (0.0, 0.1)]
            seen.append(lr)
            if ni - last >= accumulate:
                updates.append(ni)
                last = ni
        if late:
            lr = [lf[e]] * 2
    return np.transpose(seen), updates


@pytest.mark.parametrize("release", RULES)
@pytest.mark.parametrize(("epochs", "nb", "batch"), [(12, 13, 10), (5, 70, 24), (2, 2, 4)], ids=str)
def test_every_iteration(release, epochs, nb, batch):
    args = dict(optimizer="SGD", epochs=epochs, batch=batch)
    recipe = ultralytics.recipe(args, steps_per_epoch=nb, version=release)
    (plain, warmed), updates = run_loop(release, epochs, nb, batch)
    ours = js.curves(recipe)
    first, other = ("weight", "bias") if release == "8.4.0" else ("bias", "weight")
    np.testing.assert_allclose(ours[first]["lr"], warmed, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(ours[other]["lr"], plain, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(ours["bn"]["lr"], plain, rtol=1e-6, atol=1e-9)
    assert np.flatnonzero(js.report.update_steps(recipe)).tolist() == updates
    assert recipe.accumulate is None or recipe.accumulate.drop_at_epoch_end == RULES[release][2]
    assert "version-open" not in dict(cautions(recipe.notes))


@pytest.mark.parametrize(("release", "steps"), [("8.0.118", 100), ("8.0.119", 0), ("8.4.102", 0), ("8.4.103", 0)])
def test_no_epochs_of_warm_up(release, steps):
    args = dict(optimizer="SGD", epochs=40, batch=16, warmup_epochs=0)
    recipe = ultralytics.recipe(args, steps_per_epoch=10, version=release)
    assert f"({steps} iterations)" in recipe.origin["lr"]


@pytest.mark.parametrize(
    ("release", "epochs", "optimizer", "lr"),
    [
        ("8.0.113", 100, "nadam", 0.001),
        ("8.0.113", 7_000, "sgd", 0.01),
        ("8.0.114", 7_000, "adamw", 0.000119),
        ("8.3.253", 10_001, "sgd", 0.01),
        ("8.4.0", 10_001, "sgd", 0.01),
        ("8.4.0", 100, "musgd", 0.000119),
        ("8.4.3", 10_001, "musgd", 0.01),
        ("8.4.7", 100, "musgd", 0.000119),
        ("8.4.8", 100, "adamw", 0.000119),
        ("8.4.190", 10_001, "musgd", 0.01),
        ("8.0.100", 100, "sgd", 0.01),
    ],
)
def test_what_auto_comes_to(release, epochs, optimizer, lr):
    args = dict(optimizer="auto", epochs=epochs, batch=16)
    recipe = ultralytics.recipe(args, steps_per_epoch=4, classes=80, outputs="last", version=release)
    assert recipe.optimizer == optimizer
    assert js.curves(recipe, [4 * epochs // 2])["weight"]["lr"][0] == pytest.approx(lr * 0.505, rel=2e-2)


@pytest.mark.parametrize(
    ("release", "long", "short"),
    [("8.4.2", (0.5, 0.5), (0.5, 0.5)), ("8.4.3", (0.5, 0.5), (0.1, 1.0)), ("8.4.4", (0.1, 1.0), (0.5, 0.5))],
)
def test_the_weights_of_musgd(release, long, short):
    for epochs, expected in ((10_001, long), (100, short)):
        args = dict(optimizer="MuSGD", epochs=epochs, batch=16)
        values = ultralytics.recipe(args, steps_per_epoch=4, outputs="last", version=release).hyperparameters
        assert (values["muon"], values["sgd"]) == expected


@pytest.mark.parametrize("release", RULES)
def test_warm_up_that_ends_within_an_epoch(release):
    args = dict(optimizer="SGD", epochs=12, batch=10, warmup_epochs=2.7)
    recipe = ultralytics.recipe(args, steps_per_epoch=13, version=release)
    (plain, warmed), updates = run_loop(release, 12, 13, 10, warmup_epochs=2.7)
    group = "weight" if release == "8.4.0" else "bias"
    np.testing.assert_allclose(js.curves(recipe)[group]["lr"], warmed, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(js.curves(recipe)["bn"]["lr"], plain, rtol=1e-6, atol=1e-9)
    assert np.flatnonzero(js.report.update_steps(recipe)).tolist() == updates


def test_every_change_has_rules_of_its_own():
    assert len({rules_of(release) for release in CHANGES}) == len(CHANGES)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({"boxes"}, ["8.0.0", "8.0.113", "8.0.114", "8.0.119"]),
        ({"label_smoothing", "bgr"}, ["8.1.33", "8.1.42", "8.2.8"]),
        ({"copy_paste_mode", "label_smoothing"}, ["8.3.0"]),
        ({"end2end"}, ["8.4.8", "8.4.103", "8.4.108"]),
        ({"channels_last"}, ["8.4.105", "8.4.108", "8.4.177", "8.4.183"]),
    ],
)
def test_the_keys_tell_the_release(names, expected):
    assert candidates(names) == expected


def test_an_open_release_that_matters_is_said():
    recipe = ultralytics.recipe(dict(optimizer="SGD", epochs=30, batch=8), steps_per_epoch=5)
    ((code, text),) = cautions(recipe.notes)
    assert code == "version-open"
    assert "with 8.0.0 to 8.0.119 lr differs at 144 of 150 steps, 37 updates instead of" in text
    assert "with 8.4.0 lr differs at 100 of 150 steps, 37 updates" in text


@pytest.mark.parametrize("version", ["7.0", "8", "latest", "8.3.x"])
def test_unknown_releases(version):
    with pytest.raises(ValueError, match=r"release of Ultralytics such as '8\.3\.40', got"):
        ultralytics.recipe(dict(optimizer="SGD"), steps_per_epoch=5, version=version)


def test_freeze_is_said():
    args = dict(optimizer="SGD", freeze=10)
    recipe = ultralytics.recipe(args, steps_per_epoch=5, version="8.4.190")
    assert [code for code, _ in cautions(recipe.notes)] == ["freeze"]
    for nothing in (None, "None"):  # Ultralytics' default.yaml has the latter
        assert not cautions(ultralytics.recipe({**args, "freeze": nothing}, steps_per_epoch=5, version="8.4.190").notes)


def test_an_lr0_that_auto_ignores_is_said():
    args = dict(optimizer="auto", lr0=0.001, epochs=300)
    recipe = ultralytics.recipe(args, steps_per_epoch=1000, version="8.3.0")
    assert [text for code, text in cautions(recipe.notes) if code == "ignored-lr"] == [
        "args: lr0 is 0.001, and optimizer=auto takes 0.01 instead"
    ]
    assert not cautions(ultralytics.recipe({**args, "lr0": 0.01}, steps_per_epoch=1000, version="8.3.0").notes)


def test_a_warmup_that_is_longer_than_it_looks_is_said():
    args = dict(optimizer="SGD", warmup_epochs=2.0)
    (found,) = cautions(ultralytics.recipe(args, steps_per_epoch=10, version="8.3.0").notes)
    assert found[0] == "warmup-floor"
    assert "takes 100 iterations, which are 10 epochs: warmup_epochs 2 asks for 20" in found[1]
    assert not cautions(ultralytics.recipe(args, steps_per_epoch=10, version="8.4.190").notes)


def test_recorded_cases():
    auto = ultralytics.recipe(CASES / "ul_81_auto.yaml", steps_per_epoch=100, classes=80)
    assert auto.optimizer == "adamw"
    lr = js.curves(auto, [20_000])["weight"]["lr"]
    np.testing.assert_allclose(lr, 0.000119 * (1 - 0.99 * 200 / 300), rtol=1e-6)
    with pytest.raises(ValueError, match=r"ul_b\.yaml: batch=-1 leaves it to Ultralytics; give batch_size="):
        ultralytics.recipe(CASES / "ul_b.yaml", steps_per_epoch=100)
    assert ultralytics.recipe(CASES / "ul_b.yaml", steps_per_epoch=100, batch_size=12).batch_size == 12
    with pytest.raises(ValueError, match=r"ul_t\.yaml: time=2.0 makes the length depend on the machine"):
        ultralytics.recipe(CASES / "ul_t.yaml", steps_per_epoch=100)
    end = ultralytics.recipe(CASES / "ul_end2end.yaml", steps_per_epoch=100)
    ((_, text),) = cautions(end.notes)  # end2end is of 8.4.8 to 8.4.141, and 8.4.103 changed the end of warm-up
    assert "with 8.4.8 momentum differs after warm-up" in text
    np.testing.assert_allclose(js.curves(end, [2500])["weight"]["lr"], 0.01 * (1 - 0.99 * 25 / 50), rtol=1e-6)
