"""YOLOv5's optimizer and schedule, from its hyp.yaml (commit 5081342f; recorded from its own train.py)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxsched.ports import shared
from jaxsched.recipe import Accumulation, Recipe
from jaxsched.schedules import (
    Schedule,
    constant,
    cosine,
    delayed,
    exponential_ramp,
    linear,
    per_epoch,
    piecewise,
    warmup,
)

NOMINAL_BATCH = 64
"""The batch size that the hyperparameters are written for; smaller batches are gathered up to it."""
SHORTEST_WARMUP = 100
"""Warm-up takes at least so many iterations, even in a run that is shorter."""
LARGEST_NORM = 10.0
"""The norm at which all gradients together are clipped."""

_SCHEDULE = ("lr0", "lrf", "momentum", "weight_decay", "warmup_epochs", "warmup_momentum", "warmup_bias_lr")
_LOSS = ("box", "cls", "cls_pw", "obj", "obj_pw", "iou_t", "anchor_t", "fl_gamma", "label_smoothing", "anchors")
_AUGMENTATION = ("hsv_h", "hsv_s", "hsv_v", "degrees", "translate", "scale", "shear", "perspective") + (
    "flipud",
    "fliplr",
    "mosaic",
    "mixup",
    "copy_paste",
)
_OPTIMIZERS = {"SGD": "sgd", "Adam": "adam", "AdamW": "adamw"}


def recipe(
    hyp: shared.File | str | Path | Mapping[str, Any],
    *,
    epochs: int,
    steps_per_epoch: int | None = None,
    images: int | None = None,
    batch_size: int,
    optimizer: str = "SGD",
    cos_lr: bool = False,
) -> Recipe:
    """The recipe that YOLOv5's ``train.py`` follows.

    Three groups: ``bias`` (of norms too), ``norm`` (their scales), ``weight`` (all else, the only one with decay).
    With ``e`` the epoch, ``E`` the epochs and ``lf(e)`` falling from 1 to ``lrf`` (a line, or half a cosine):

    - Warm-up over ``max(round(warmup_epochs * steps_per_epoch), 100)`` iterations, the last included: biases go from
      ``warmup_bias_lr`` and the others from 0 to ``lr0 * lf(e)`` *of the current epoch*, a target that moves; momentum
      (SGD only) from ``warmup_momentum`` to ``momentum``. In a short run it may never end.
    - After it ``lr0 * lf(e - 1)``: one epoch late; the epoch in which warm-up ends keeps the target it reached.
      The last epoch runs at ``lf(E - 2)``: ``lr0 * lrf`` is never used.
    - Gradients are summed over ``accumulate`` batches, which climbs during warm-up from 1 to ``64 / batch_size``;
      what is left at the end of an epoch is dropped. Decay is scaled by ``batch_size * accumulate / 64``.
    - Gradients are clipped at norm 10, and the average of the parameters decays by ``0.9999 * (1 - exp(-k / 2000))`` at
      update ``k = 1, 2, ...``.

    Not kept: after a resume YOLOv5 takes its first step at once, on one batch; here a resumed run goes on as if
    it had not stopped.

    Args:
        hyp: Path to a hyp.yaml, or its contents. Numbers may be texts such as ``"5e-4"``.
        epochs: Epochs of the run, > 0.
        steps_per_epoch: Batches in an epoch, a last smaller one included, > 0.
        images: Images of the training set, in place of ``steps_per_epoch``.
        batch_size: Images in a batch (of all devices together), as given to ``--batch-size``, > 0.
        optimizer: ``"SGD"`` (Nesterov), ``"Adam"`` (decay added to the gradient) or ``"AdamW"``; their first beta is
            ``momentum``.
        cos_lr: Half a cosine instead of a line.

    Returns:
        A recipe. Keys of the loss and of augmentation are not part of it; ``notes`` lists them.

    Raises:
        TypeError: If a value is no number.
        ValueError: If a key is missing or not known, or a number out of its range; it names the key, the value and
            what it should be.

    Example:
        >>> import jaxsched as js
        >>> hyp = dict(lr0=0.01, lrf=0.01, momentum=0.937, weight_decay=5e-4, warmup_epochs=3.0,
        ...            warmup_momentum=0.8, warmup_bias_lr=0.1)
        >>> recipe = js.ports.yolov5.recipe(hyp, epochs=300, steps_per_epoch=200, batch_size=16)
        >>> {group: float(values["lr"][0]) for group, values in js.curves(recipe, [0]).items()}
        {'bias': 0.10000000149011612, 'norm': 0.0, 'weight': 0.0}
    """
    where, values = shared.read(hyp, "hyp")
    settings = shared.Settings(where, values)
    number = {name: settings.beta(name) if "momentum" in name else settings.number(name, low=0.0) for name in _SCHEDULE}
    epochs = shared.as_count("epochs", epochs)
    batch_size = shared.as_count("batch_size", batch_size)
    steps_per_epoch = shared.epoch_length(where, steps_per_epoch, images, batch_size)
    if optimizer not in _OPTIMIZERS:
        raise ValueError(f"optimizer must be one of {', '.join(_OPTIMIZERS)}, got {optimizer!r}")

    lr0, momentum = number["lr0"], number["momentum"]
    final = lr0 * number["lrf"]
    by_epoch = cosine(lr0, epochs, final) if cos_lr else linear(lr0, final, epochs)
    # Python rounds halves to even, as the original does here.
    warmup_steps = max(round(number["warmup_epochs"] * steps_per_epoch), SHORTEST_WARMUP)
    accumulate = max(round(NOMINAL_BATCH / batch_size), 1)

    def lr(start: float) -> Schedule:
        warm = warmup(per_epoch(by_epoch, steps_per_epoch), warmup_steps, start)
        last_epoch = warmup_steps // steps_per_epoch
        if last_epoch + 1 >= epochs:
            return warm
        late = per_epoch(delayed(by_epoch, by=1), steps_per_epoch)
        return piecewise([warm, late], at=[(last_epoch + 1) * steps_per_epoch])

    sgd = optimizer == "SGD"
    warm_momentum = warmup(constant(momentum), warmup_steps, number["warmup_momentum"])
    hyperparameters: dict[str, Any] = {"lr": lr(0.0), "weight_decay": 0.0}
    hyperparameters |= {"momentum": warm_momentum, "nesterov": True} if sgd else {"betas": (momentum, 0.999)}
    decay = number["weight_decay"] * batch_size * accumulate / NOMINAL_BATCH
    return Recipe(
        optimizer=_OPTIMIZERS[optimizer],
        hyperparameters=hyperparameters,
        groups={"bias": {"lr": lr(number["warmup_bias_lr"])}, "weight": {"weight_decay": decay}},
        clip_norm=LARGEST_NORM,
        accumulate=Accumulation(_batches_to_an_update(warmup_steps, batch_size), drop_at_epoch_end=True),
        ema=exponential_ramp(0.9999, 2000),
        steps=epochs * steps_per_epoch,
        steps_per_epoch=steps_per_epoch,
        batch_size=batch_size,
        nominal_batch_size=NOMINAL_BATCH,
        notes=tuple(settings.rest(aside={*_LOSS, *_AUGMENTATION})),
        origin={
            "weight.weight_decay": f"{where}: weight_decay {number['weight_decay']} x {batch_size} x {accumulate} / 64",
            "lr": f"{where}: lr0, lrf, warmup_epochs ({warmup_steps} iterations)",
            "bias.lr": f"{where}: warmup_bias_lr, then as the others",
        },
    )


def _batches_to_an_update(warmup_steps: int, batch_size: int) -> Schedule:
    """Halves are rounded to even in float64, as the original does: the stairs are found here, once."""
    iterations = np.arange(warmup_steps + 1)
    climb = np.interp(iterations, [0, warmup_steps], [1, NOMINAL_BATCH / batch_size]).round()
    every = np.maximum(climb, 1.0).astype(int)
    at = np.flatnonzero(np.diff(every)) + 1
    return piecewise([int(every[0]), *every[at].tolist()], at=at.tolist())


def _is_hyp(file: shared.File) -> bool:
    return "lr0" in file.names and bool({"warmup_bias_lr", "obj", "obj_pw", "anchor_t"} & file.names)


KINDS = (shared.Kind("yolov5", "a hyp.yaml of YOLOv5", _is_hyp, recipe, ("hyp.yaml",)),)
