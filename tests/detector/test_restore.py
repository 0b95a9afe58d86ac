"""What a run that is resumed says of what has changed since it began."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from examples.detector.data import Dataset
from examples.detector.setup import label_sum, restore

DATA = Dataset(
    names=("cat", "dog"),
    images=(Path("a.png"),),
    sizes=((64, 48),),
    boxes=(np.asarray([[0.5, 0.5, 0.2, 0.2]], np.float32),),
    classes=(np.asarray([1], np.int32),),
    crowds=(np.zeros((0, 5), np.float32),),
)
CHANGES = {
    "a box": dict(boxes=(np.asarray([[0.5, 0.5, 0.2, 0.25]], np.float32),)),
    "a class": dict(classes=(np.asarray([0], np.int32),)),
    "the size of an image": dict(sizes=((64, 50),)),
    "the name of an image": dict(images=(Path("b.png"),)),
}


def resumed(train, labels, devices=None):
    """The notes of a run that continues with these images."""
    progress = {"options": {}, "data": {}, "stopping": {}, "step": 7, "labels": labels}
    progress["devices"] = devices or jax.device_count()
    run = SimpleNamespace(
        state=None,
        checkpoints=SimpleNamespace(restore=lambda state: (state, progress), notes=[]),
        decisive={},
        batches=SimpleNamespace(set_state=lambda state: None),
        options=SimpleNamespace(patience=3),
        train=train,
        validator=SimpleNamespace(dataset=DATA),
        notes=[],
    )
    restore(run)
    assert run.start == 7
    return "\n".join(run.notes)


@pytest.mark.parametrize("change", CHANGES)
def test_labels_that_changed_are_said(change):
    then = label_sum(DATA, DATA)
    assert resumed(DATA, then) == ""
    assert "images or labels have changed" in resumed(dataclasses.replace(DATA, **CHANGES[change]), then)


def test_another_number_of_devices_is_said():
    assert "the run was on 8 devices and now is on" in resumed(DATA, label_sum(DATA, DATA), devices=8)
