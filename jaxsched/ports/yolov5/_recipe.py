"""The recipe in the files of a YOLOv5 run (written from its behaviour; recorded from its own train.py)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from jaxsched.checks import short
from jaxsched.groups import BY_ROLE, Rule, contains
from jaxsched.ports import shared
from jaxsched.ports.yolov5._versions import VERSIONS, Rules, candidates, known
from jaxsched.recipe import Recipe, caution
from jaxsched.schedules import exponential_ramp

NOMINAL_BATCH = 64
"""The batch size that the hyperparameters are written for; smaller batches are gathered up to it."""

_SCHEDULE = ("lr0", "lrf", "momentum", "weight_decay", "warmup_epochs", "warmup_momentum", "warmup_bias_lr")
_ASIDE_TEXT = """
    box cls cls_pw obj obj_pw iou_t anchor_t anchors fl_gamma label_smoothing giou dfl theta theta_pw cls_theta
    csl_radius landmark kpt paste_in loss_ota hsv_h hsv_s hsv_v degrees translate scale shear perspective flipud fliplr
    mosaic mixup copy_paste
"""
_ASIDE = tuple(_ASIDE_TEXT.split())
"""Hyperparameters of the loss and of augmentation."""
_OPTIONS_TEXT = """
    weights cfg data img_size imgsz img rect resume resume_evolve nosave notest noval noautoanchor noplots evolve
    evolve_population bucket cache cache_images image_weights device multi_scale single_cls sync_bn workers project
    name exist_ok quad save_period seed local_rank entity upload_dataset bbox_interval artifact_alias logdir log_imgs
    log_artifacts patience label_smoothing save_dir world_size global_rank v5_metric close_mosaic min_items
    ndjson_console ndjson_file mask_ratio no_overlap
"""
_OPTIONS = tuple(_OPTIONS_TEXT.split())
"""Options of ``train.py`` that are not part of a recipe."""
_CURVES = ("linear_lr", "cos_lr", "flat_cos_lr", "fixed_lr")
"""Options that ask for a curve."""
_OPTIMIZERS = {"SGD": "sgd", "Adam": "adam", "AdamW": "adamw", "LION": "lion"}


def recipe(
    hyp: shared.File | str | Path | Mapping[str, Any],
    *,
    epochs: int | None = None,
    steps_per_epoch: int | None = None,
    images: int | None = None,
    batch_size: int | None = None,
    optimizer: str | None = None,
    cos_lr: bool | None = None,
    version: str | None = None,
) -> Recipe:
    """The recipe that YOLOv5's ``train.py`` follows, or that of a fork.

    Three groups: ``bias`` (of norms too), ``norm`` (their scales, and the implicit
    knowledge of YOLOR, YOLOv7 and YOLOv9), ``weight`` (all else, the only one with decay).
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

    Up to 6.1 warm-up takes at least 1000 iterations and nothing is clipped; up to 6.0 ``lf`` is a cosine unless
    ``linear_lr`` is set (a line over ``E - 1``); up to 5.0 an update is at each iteration that ``accumulate`` divides;
    in 3.0 ``lrf`` is 0.2. The version is found from the keys of the files. Where they leave it open and the numbers
    depend on it, the latest is taken, and a note of the recipe says what the others would do.

    Not kept: after a resume YOLOv5 takes its first step at once, on one batch; here a resumed run goes on as if
    it had not stopped.

    Args:
        hyp: Path to the folder of a run, its opt.yaml or a hyp.yaml, or the contents of one of these as a dict. Numbers
            may be strings such as ``"5e-4"``.
        epochs: Epochs of the run, > 0; from opt.yaml where left out.
        steps_per_epoch: Batches in an epoch, a last smaller one included, > 0.
        images: Images of the training set, in place of ``steps_per_epoch``.
        batch_size: Images in a batch (of all devices together), as given to ``--batch-size``, > 0; from opt.yaml where
            left out.
        optimizer: ``"SGD"`` (Nesterov), ``"Adam"`` (decay added to the gradient), ``"AdamW"`` (in YOLOv9 with
            amsgrad) or YOLOv9's ``"LION"``; their first beta is ``momentum``. From opt.yaml where left out, else SGD.
        cos_lr: Half a cosine instead of a line, from 6.1 on; from opt.yaml where left out.
        version: The release of YOLOv5, ``"3.0"`` to ``"7.0"``, or a fork: ``"yolov7"``, ``"yolov9"``, ``"yolor"``,
            ``"yolov5-face"``, ``"yolov5_obb"``. Found from the keys where left out.

    Returns:
        A recipe. Keys of the loss and of augmentation are not part of it; ``notes`` lists them.

    Raises:
        TypeError: If a value is not a number.
        ValueError: If a key is missing or not known, or a number out of its range; it names the key, the value and
            what it should be.

    Examples:
        >>> import jaxsched as js
        >>> hyp = dict(lr0=0.01, lrf=0.01, momentum=0.937, weight_decay=5e-4, warmup_epochs=3.0,
        ...            warmup_momentum=0.8, warmup_bias_lr=0.1)
        >>> recipe = js.ports.yolov5.recipe(hyp, epochs=300, steps_per_epoch=200, batch_size=16, version="7.0")
        >>> {group: float(values["lr"][0]) for group, values in js.curves(recipe, [0]).items()}
        {'bias': 0.10000000149011612, 'norm': 0.0, 'weight': 0.0}
    """
    run = read_run(hyp, epochs=epochs, batch_size=batch_size, optimizer=optimizer, cos_lr=cos_lr, version=version)
    where, chosen = run.where, run.possible[-1]
    steps_per_epoch = shared.epoch_length(where, steps_per_epoch, images, run.batch_size)
    number, loop = run.numbers(chosen)[0], loop_of(run, chosen, steps_per_epoch)
    lr0, momentum = number["lr0"], number["momentum"]
    hyperparameters: dict[str, Any] = {"lr": loop.lr(lr0, 0.0), "weight_decay": 0.0}
    if run.optimizer == "SGD":
        hyperparameters |= {"momentum": loop.warmed(number["warmup_momentum"], momentum), "nesterov": True}
    else:
        hyperparameters["betas"] = (momentum, 0.99 if run.optimizer == "LION" else 0.999)
    if run.optimizer == "AdamW" and VERSIONS[chosen].amsgrad:
        hyperparameters["amsgrad"] = True
    others = {
        other: _differs(loop, loop_of(run, other, steps_per_epoch), chosen, other, number)
        for other in run.possible[:-1]
    }
    return Recipe(
        optimizer=_OPTIMIZERS[run.optimizer],
        hyperparameters=hyperparameters,
        groups={
            "bias": {"lr": loop.lr(lr0, number["warmup_bias_lr"])},
            "weight": {"weight_decay": loop.scaled_decay(number["weight_decay"])},
        },
        rules=(*(Rule(contains(name), "norm", optional=True) for name in VERSIONS[chosen].undecayed), *BY_ROLE),
        clip_norm=VERSIONS[chosen].clip_norm,
        accumulate=loop.accumulation(),
        ema=exponential_ramp(0.9999, 2000),
        steps=run.epochs * steps_per_epoch,
        steps_per_epoch=steps_per_epoch,
        batch_size=run.batch_size,
        nominal_batch_size=NOMINAL_BATCH,
        notes=(
            *run.notes,
            *shared.longer_warmup(where, number["warmup_epochs"], steps_per_epoch, loop.warmup_steps),
            *shared.open_version(where, chosen, others),
        ),
        origin={
            "lr": f"{where}: lr0, lrf, warmup_epochs ({loop.warmup_steps} iterations)",
            "bias.lr": f"{where}: warmup_bias_lr, then as the others",
            "weight.weight_decay": f"{where}: weight_decay {number['weight_decay']} x {run.batch_size} x "
            f"{loop.gathered} / {NOMINAL_BATCH}",
        },
    )


class Run(NamedTuple):
    """What the files of a run say, and what is said beside them.

    Attributes:
        where: What to call the files in errors.
        hyp: The hyperparameters.
        epochs: Epochs of the run.
        batch_size: Images in a batch, of all devices.
        optimizer: SGD, Adam or AdamW.
        asked: The options that ask for a curve.
        possible: The versions that the run may be of, the likeliest last.
        notes: What is left out.
    """

    where: str
    hyp: Mapping[str, Any]
    epochs: int
    batch_size: int
    optimizer: str
    asked: frozenset[str]
    possible: list[str]
    notes: tuple[str, ...]

    def numbers(self, version: str) -> tuple[dict[str, float], list[str]]:
        """The hyperparameters of the schedule, and notes on the others."""
        return _numbers(self.where, self.hyp, VERSIONS[version])


def read_run(
    source: Any,
    *,
    epochs: int | None = None,
    batch_size: int | None = None,
    optimizer: str | None = None,
    cos_lr: bool | None = None,
    version: str | None = None,
) -> Run:
    """The run that files describe; the arguments are those of `recipe`."""
    where, values, options = _files(source)
    said = {"epochs": epochs, "batch_size": batch_size, "optimizer": optimizer, "cos_lr": cos_lr}
    said = {name: value for name, value in said.items() if value is not None}
    possible = _possible(values, options, said, version)
    rules = VERSIONS[possible[-1]]
    notes = _numbers(where, values, rules)[1]
    settings = shared.Settings(where, {**options, **said})
    curves = frozenset(option for option in _CURVES if settings.flag(option, False))
    length, batch = _lengths(settings, said)
    name = settings.take("optimizer", "Adam" if settings.flag("adam", False) else "SGD")
    if name not in rules.optimizers:
        allowed = ", ".join(rules.optimizers)
        raise ValueError(f"optimizer must be one of {allowed}, got {short(name)}{_elsewhere(name, possible[-1])}")
    notes += _frozen(where, settings)
    notes += settings.rest(aside=_OPTIONS)
    return Run(where, values, length, batch, name, curves, possible, tuple(notes))


def _elsewhere(optimizer: Any, version: str) -> str:
    return f"; {version} has no other" if optimizer in ("Adam", "AdamW") else ""


def _files(source: Any) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """What to call the files of a run, the hyperparameters, and the options of ``train.py`` if they are kept."""
    if isinstance(source, str | os.PathLike) and Path(source).is_dir():
        folder = Path(source)
        source = next((path for name in ("opt.yaml", "hyp.yaml") if (path := folder / name).is_file()), folder)
    if isinstance(source, str | os.PathLike):
        source = shared.File.read(source)
    where, values = shared.read(source, "hyp")
    if "hyp" not in values:
        return where, values, {}
    hyp = values.pop("hyp")
    if isinstance(hyp, Mapping):
        return where, dict(hyp), values
    beside = source.path.parent / "hyp.yaml" if isinstance(source, shared.File) else None
    if beside is None or not beside.is_file():
        raise ValueError(f"{where}: hyp is {short(hyp)}, a file that is not beside it; give its content as hyp")
    return where, shared.read(beside)[1], values


def versions_of(source: Any) -> list[str]:
    """The versions that files may be of, by their keys alone."""
    _, hyp, options = _files(source)
    return _possible(hyp, options, {}, None)


def _possible(hyp: Mapping[str, Any], options: Mapping[str, Any], said: Mapping[str, Any], version: Any) -> list[str]:
    """The versions that a run may be of, the likeliest last."""
    if version is not None:
        return [known(version)]
    told = {name for name in said if name == "cos_lr" or said[name] == "AdamW"}
    return candidates(set(hyp), set(options), told)


def _numbers(where: str, hyp: Mapping[str, Any], rules: Rules) -> tuple[dict[str, float], list[str]]:
    """The hyperparameters of the schedule, and notes on the others."""
    settings = shared.Settings(where, hyp)
    number = {}
    for name in _SCHEDULE:
        if name in rules.fixed:
            number[name] = rules.fixed[name]
        else:
            number[name] = settings.beta(name) if "momentum" in name else settings.number(name, low=0.0)
    return number, settings.rest(aside=(*_ASIDE, *rules.fixed))


def _lengths(settings: shared.Settings, said: Mapping[str, Any]) -> tuple[int, int]:
    """The epochs and the batch of all devices; up to 6.0 ``batch_size`` is that of one, ``total_batch_size`` of all."""
    epochs, batch, total = (settings.take(name, None) for name in ("epochs", "batch_size", "total_batch_size"))
    batch = batch if total is None or "batch_size" in said else total
    found = {"epochs": epochs, "batch_size": None if batch == -1 and "batch_size" not in said else batch}
    if missing := [name for name, value in found.items() if value is None]:
        left = missing == ["batch_size"] and batch == -1
        why = "batch_size=-1 leaves it to YOLOv5" if left else f"it has no {' and no '.join(missing)}"
        raise shared.MissingError(settings.where, why, missing)
    return shared.as_count("epochs", epochs), shared.as_count("batch_size", batch)


def _frozen(where: str, settings: shared.Settings) -> list[str]:
    """A caution where layers are frozen: which parameters these are, the file does not say."""
    value = settings.take("freeze", None)
    layers = value if isinstance(value, list | tuple) else [value]
    if layers in ([], [0], [None]):
        return []
    said = f"the first {short(layers[0])} layers" if len(layers) == 1 else f"layers {short(layers)}"
    return [
        caution(
            "freeze",
            f"{where}: freeze freezes {said} there and nothing here; put rules for them first, "
            "('backbone/**', 'frozen'), and groups={'frozen': None}",
        )
    ]


def loop_of(run: Run, version: str, steps_per_epoch: Any) -> shared.Loop:
    """The loop of a run by the rules of a version; several lengths of an epoch may be tried at once, as an array."""
    rules, number = VERSIONS[version], run.numbers(version)[0]
    if strange := run.asked - set(rules.options):
        raise ValueError(f"{run.where}: {min(strange)} has no meaning in {version}")
    curve = next((curve for option, curve in rules.options.items() if option in run.asked), rules.curve)
    if curve == "short line" and run.epochs == 1:
        raise ValueError(f"{run.where}: linear_lr divides by epochs - 1, which is 0")
    return shared.Loop(
        epochs=run.epochs,
        steps_per_epoch=steps_per_epoch,
        batch_size=run.batch_size,
        nominal_batch=NOMINAL_BATCH,
        curve=curve,
        floor=number["lrf"],
        warmup_steps=shared.warmup_steps(number["warmup_epochs"], steps_per_epoch, rules.shortest),
        late=True,
        aligned=rules.aligned,
        drop=True,
    )


def _differs(ours: shared.Loop, other: shared.Loop, a: str, b: str, number: Mapping[str, float]) -> str:
    start = number["warmup_bias_lr"] / number["lr0"] if number["lr0"] else 0.0
    text = shared.what_differs(ours, other, (0.0, start))
    clip = VERSIONS[b].clip_norm
    if clip != VERSIONS[a].clip_norm:
        clipped = "nothing is clipped" if clip is None else f"gradients are clipped at norm {clip:g}"
        text = f"{text}, {clipped}" if text else clipped
    return text
