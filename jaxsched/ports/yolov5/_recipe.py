"""YOLOv5's optimizer and schedule, from its hyp.yaml or a run's folder (recorded from its own train.py, 5081342f)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from jaxsched.checks import short
from jaxsched.ports import shared
from jaxsched.ports.yolov5._run import Run
from jaxsched.ports.yolov5._versions import VERSIONS, candidates, release
from jaxsched.recipe import Recipe, caution
from jaxsched.schedules import constant, exponential_ramp, warmup

NOMINAL_BATCH = 64
"""The batch size that the hyperparameters are written for; smaller batches are gathered up to it."""

_SCHEDULE = ("lr0", "lrf", "momentum", "weight_decay", "warmup_epochs", "warmup_momentum", "warmup_bias_lr")
_LOSS = ("box", "cls", "cls_pw", "obj", "obj_pw", "iou_t", "anchor_t", "fl_gamma", "label_smoothing", "anchors")
_AUGMENTATION = ("hsv_h", "hsv_s", "hsv_v", "degrees", "translate", "scale", "shear", "perspective") + (
    "flipud",
    "fliplr",
    "mosaic",
    "mixup",
    "copy_paste",
)
_OF_FORKS = ("giou", "paste_in", "loss_ota", "theta", "landmark", "kpt", "dfl")
_OPTIMIZERS = {"SGD": "sgd", "Adam": "adam", "AdamW": "adamw"}


def recipe(
    hyp: str | os.PathLike[str] | shared.File | Mapping[str, Any],
    *,
    steps_per_epoch: int | None = None,
    images: int | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    optimizer: str | None = None,
    cos_lr: bool | None = None,
    version: str | None = None,
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

    Releases differ: up to 6.1 warm-up takes at least 1000 iterations and nothing is clipped; up to 6.0 the decay is a
    cosine, and a line ends in the last epoch; up to 5.0 an update is due where ``iteration % accumulate == 0``.

    Not kept: after a resume YOLOv5 takes its first step at once, on one batch; here a resumed run goes on as if
    it had not stopped.

    Args:
        hyp: Path to a hyp.yaml, to a run's opt.yaml or to the folder of both; or the contents of either as a dict.
            Numbers may be strings such as ``"5e-4"``.
        steps_per_epoch: Batches in an epoch, a last smaller one included, > 0.
        images: Images of the training set, in place of ``steps_per_epoch``.
        epochs: Epochs of the run, > 0; where left out, what opt.yaml says. The next three likewise.
        batch_size: Images in a batch (of all devices together), as given to ``--batch-size``, > 0.
        optimizer: ``"SGD"`` (Nesterov; the default), ``"Adam"`` (decay added to the gradient) or ``"AdamW"``; their
            first beta is ``momentum``.
        cos_lr: Whether lr falls along half a cosine (the default up to 6.0) or a line (from 6.1).
        version: The release that trained, such as ``"6.1"``, or a fork: ``"yolov5-face"``, ``"yolov5_obb"``,
            ``"yolor"``, ``"yolov7"``, ``"yolov9"``. Where left out, the newest that the keys of the files allow; if
            older ones are possible and differ, ``notes`` says at how many steps, and `lint` warns.

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
    run = Run.read(hyp)
    where = run.where
    settings = shared.Settings(where, run.hyp)
    epochs = shared.as_count("epochs", run.given("epochs", epochs))
    batch_size = shared.as_count("batch_size", run.given("batch_size", batch_size))
    steps_per_epoch = shared.epoch_length(where, steps_per_epoch, images, batch_size)
    optimizer = run.optimizer(optimizer)
    if optimizer not in _OPTIMIZERS:
        raise ValueError(f"optimizer must be one of {', '.join(_OPTIMIZERS)}, got {short(optimizer)}")
    cos = run.cosine(cos_lr)
    possible = [release(version)] if version is not None else candidates(run.hyp, run.opt)
    name = possible[-1]
    number = _numbers(settings, old=name == "3.0")
    of = dict(where=where, n=number, epochs=epochs, steps_per_epoch=steps_per_epoch, batch_size=batch_size)
    made = _made(VERSIONS[name], **of, optimizer=optimizer, cos=cos)
    notes = [] if version is not None or len(possible) > 1 else [f"by its keys it is of YOLOv5 {name}"]
    others = {other: VERSIONS[other] for other in possible[-2::-1] if VERSIONS[other] != VERSIONS[name]}
    doubts = shared.compared(
        made, {other: _made(loop, **of, optimizer=optimizer, cos=cos) for other, loop in others.items()}
    )
    if doubts:
        listed = "; ".join(f"as {other}: {difference}" for other, difference in doubts.items())
        notes.append(caution("version-open", f"{where} is read as YOLOv5 {name}, which its keys leave open; {listed}"))
    return made.replace(notes=(*settings.rest(aside={*_LOSS, *_AUGMENTATION, *_OF_FORKS}), *notes))


def _numbers(settings: shared.Settings, old: bool) -> dict[str, float]:
    """The settings of the schedule; YOLOv5 3.0 had four of them fixed in its code."""
    fixed = dict(lrf=0.2, warmup_epochs=3.0, warmup_momentum=0.9, warmup_bias_lr=0.1) if old else {}
    settings.defaults = fixed
    return {name: settings.beta(name) if "momentum" in name else settings.number(name, low=0.0) for name in _SCHEDULE}


def _made(
    loop: shared.Loop,
    *,
    where: str,
    n: dict[str, float],
    epochs: int,
    steps_per_epoch: int,
    batch_size: int,
    optimizer: str,
    cos: bool | None,
) -> Recipe:
    """The recipe under the rules of one release."""
    by_epoch = loop.decay(n["lr0"], n["lr0"] * n["lrf"], epochs, loop.cosine if cos is None else cos)
    # Python rounds halves to even, as the original does here.
    warmup_steps = max(round(n["warmup_epochs"] * steps_per_epoch), loop.shortest_warmup)
    batches = max(round(NOMINAL_BATCH / batch_size), 1)
    steps = epochs * steps_per_epoch

    def lr(start: float) -> Any:
        return loop.lr(by_epoch, start, warmup_steps, steps_per_epoch, epochs)

    momentum = warmup(constant(n["momentum"]), warmup_steps, n["warmup_momentum"])
    hyperparameters: dict[str, Any] = {"lr": lr(0.0), "weight_decay": 0.0}
    hyperparameters |= (
        {"momentum": momentum, "nesterov": True} if optimizer == "SGD" else {"betas": (n["momentum"], 0.999)}
    )
    decay = n["weight_decay"] * batch_size * batches / NOMINAL_BATCH
    return Recipe(
        optimizer=_OPTIMIZERS[optimizer],
        hyperparameters=hyperparameters,
        groups={"bias": {"lr": lr(n["warmup_bias_lr"])}, "weight": {"weight_decay": decay}},
        clip_norm=loop.clip_norm,
        accumulate=loop.accumulation(warmup_steps, NOMINAL_BATCH / batch_size, steps),
        ema=exponential_ramp(0.9999, 2000),
        steps=steps,
        steps_per_epoch=steps_per_epoch,
        batch_size=batch_size,
        nominal_batch_size=NOMINAL_BATCH,
        origin={
            "weight.weight_decay": f"{where}: weight_decay {n['weight_decay']} x {batch_size} x {batches} / 64",
            "lr": f"{where}: lr0, lrf, warmup_epochs ({warmup_steps} iterations)",
            "bias.lr": f"{where}: warmup_bias_lr, then as the others",
        },
    )


def _is_run(file: shared.File) -> bool:
    hyp = "lr0" in file.names and bool({"warmup_bias_lr", "obj", "obj_pw", "anchor_t"} & file.names)
    return hyp or ({"hyp", "epochs", "batch_size", "weights"} <= file.names)


KINDS = (shared.Kind("yolov5", "a hyp.yaml or opt.yaml of YOLOv5", _is_run, recipe, ("hyp.yaml", "opt.yaml")),)
