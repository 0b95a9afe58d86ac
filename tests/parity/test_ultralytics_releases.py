"""Releases of Ultralytics, each its own loop on a tiny model: lr, momentum, decay and updates at each batch."""

import json
import subprocess
import sys
from pathlib import Path

import fetch_zoo as zoo
import numpy as np
import pytest

import jaxsched as js
from jaxsched.ports import ultralytics

pytest.importorskip("torch")
pytest.importorskip("cv2")

ULTRALYTICS, WHEELS = zoo.ULTRALYTICS, zoo.ZOO / "ultralytics"
if not all(any(WHEELS.glob(f"ultralytics-{release}-*.whl")) for release in ULTRALYTICS):
    pytest.skip("the releases of Ultralytics are not fetched: tests/parity/install.py", allow_module_level=True)

RUNS = {
    "small": (40, dict(optimizer="SGD", epochs=15, batch=8)),
    "cosine": (240, dict(optimizer="SGD", epochs=5, batch=12, cos_lr=True, lrf=0.2, nbs=48)),
    "adamw": (60, dict(optimizer="AdamW", epochs=6, batch=24, momentum=0.8, warmup_epochs=1.0)),
    "short": (12, dict(optimizer="SGD", epochs=2, batch=4, warmup_epochs=0.0)),
}


@pytest.fixture(scope="module")
def originals():
    script = [sys.executable, Path(__file__).with_name("ultralytics_loop.py"), WHEELS, json.dumps(list(RUNS.values()))]
    done = subprocess.run(script, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("release", ULTRALYTICS)
def test_every_batch(release, originals):
    assert not isinstance(originals[release], str), originals[release]
    for name, seen in zip(RUNS, originals[release], strict=True):
        images, args = RUNS[name]
        recipe = ultralytics.recipe(args, images=images, version=release)
        assert recipe.steps == len(seen), name
        ours = js.curves(recipe)
        for i, (group, *_) in enumerate(seen[0][0]):
            expected = np.asarray([groups[i][1:] for groups, _, _ in seen])
            # float32 beside float64: a few roundings of 6e-8
            for k, value in enumerate(("lr", "momentum", "weight_decay")):
                np.testing.assert_allclose(
                    ours[group][value], expected[:, k], rtol=5e-7, atol=1e-8, err_msg=f"{name}: {group} {value}"
                )
        due = js.report.update_steps(recipe)
        np.testing.assert_array_equal(due, [stepped for _, _, stepped in seen], err_msg=name)
