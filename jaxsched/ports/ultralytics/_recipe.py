"""Ultralytics' optimizer and schedule, from its args.yaml for each release (written from its behaviour)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from jaxsched.checks import short
from jaxsched.groups import Condition, Match, Rule, as_condition, contains, ndim, role
from jaxsched.ports import shared
from jaxsched.ports.ultralytics._versions import Release, distinct, parse, release, span, written
from jaxsched.recipe import Recipe, caution
from jaxsched.schedules import Schedule, constant, exponential_ramp, warmup

BOOST = 3.0
"""What the lr of the class branch is multiplied by, with MuSGD."""

DEFAULTS: Mapping[str, Any] = {
    "optimizer": "auto",
    "epochs": 100,
    "batch": 16,
    "nbs": 64,
    "lr0": 0.01,
    "lrf": 0.01,
    "cos_lr": False,
    "momentum": 0.937,
    "weight_decay": 0.0005,
    "warmup_epochs": 3.0,
    "warmup_momentum": 0.8,
    "warmup_bias_lr": 0.1,
    "time": None,
}
"""What Ultralytics' arguments that a recipe is made of are where args.yaml says nothing."""

_OTHERS_TEXT = """
    task mode model data patience imgsz save save_period cache device workers project name exist_ok pretrained
    cls_remap verbose seed deterministic single_cls rect close_mosaic resume amp fraction profile freeze multi_scale
    compile channels_last overlap_mask mask_ratio dropout val split save_json save_hybrid conf iou max_det half
    quantize dnn plots nms source vid_stride stream_buffer visualize augment augmentations agnostic_nms classes
    retina_masks embed show save_frames save_txt save_conf save_crop show_labels show_conf show_boxes line_width
    format keras int8 optimize dynamic simplify opset workspace distill_model dis box cls cls_pw dfl pose kobj rle
    angle dlog dgrad dlam label_smoothing hsv_h hsv_s hsv_v degrees translate scale shear perspective flipud fliplr
    bgr mosaic mixup cutmix copy_paste copy_paste_mode auto_augment erasing crop_fraction cfg tracker save_dir
    v5loader image_weights line_thickness hide_labels hide_conf fl_gamma min_memory boxes end2end
"""
_OTHERS = tuple(_OTHERS_TEXT.split())
"""Arguments of data, loss, validation, prediction and export."""

_OPTIMIZERS = {
    name.lower(): name for name in ("Adam", "Adamax", "AdamW", "NAdam", "RAdam", "RMSprop", "SGD", "MuSGD", "auto")
}


class _Choice(NamedTuple):
    """What ``optimizer=`` comes to."""

    name: str
    lr: float
    momentum: float
    """Of the optimizer as it is made; warm-up moves it."""
    warmup_bias_lr: float
    why: str | None = None


def recipe(
    args: shared.File | str | Path | Mapping[str, Any],
    *,
    steps_per_epoch: int | None = None,
    images: int | None = None,
    classes: int | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    optimizer: str | None = None,
    cos_lr: bool | None = None,
    boosted: Match | None = None,
    outputs: str | None = None,
    version: str | None = None,
) -> Recipe:
    """The recipe that Ultralytics' trainer follows.

    Groups: ``bias`` (all with "bias" anywhere in their path), ``bn`` (scales of norms, and ``logit_scale``), ``weight``
    (all else); with MuSGD ``muon`` first, all of two or four axes, biases too. Only ``weight`` and ``muon`` decay. With
    ``e`` the epoch and ``lf(e)`` falling from 1 to ``lrf`` over the epochs (a line, or half a cosine with ``cos_lr``):

    - The lr is ``lr0 * lf(e)``, epoch by epoch (YOLOv5 is one epoch late).
    - Warm-up takes ``round(min(warmup_epochs, epochs - 1) * steps_per_epoch)`` iterations, none if that is 0 (YOLOv5:
      at least 100). Biases go from ``warmup_bias_lr`` and the others from 0 to ``lr0 * lf(e)`` of the current epoch;
      momentum from ``warmup_momentum`` to ``momentum``, where the optimizer has one by that name.
    - Gradients are summed over up to ``max(round(nbs / batch), 1)`` batches, fewer during warm-up; what is left at the
      end of an epoch goes into the next (YOLOv5 drops it). Decay is scaled by ``batch * that / nbs``.
    - Gradients are clipped at norm 10; the average of the parameters decays by ``0.9999 * (1 - exp(-k / 2000))``.

    ``optimizer=auto`` is a decision, which ``notes`` tells: in a run of more than 10,000 updates (``ceil(images /
    max(batch, nbs)) * epochs``) MuSGD with lr 0.01, else AdamW with lr ``0.01 / (4 + classes)`` (6 decimals) and first
    beta 0.9; ``lr0`` is ignored and biases warm up from 0. MuSGD's momentum is said to be 0.9, but warm-up leads it to
    ``momentum``, where it stays, as in the original.

    That is the newest release. Before 8.4.103 warm-up takes at least 100 iterations; up to 8.2.6 what is left at the
    end of an epoch is dropped; up to 8.1.41 the lr after warm-up is one epoch late, as YOLOv5's; from 8.4.0 to 8.4.2 it
    is the group ``weight`` that warms up from ``warmup_bias_lr``; ``optimizer=auto`` changed five times.

    Args:
        args: Path to an args.yaml, or its contents as a dict; defaults where it says nothing.
        steps_per_epoch: Batches in an epoch, a last smaller one included, > 0.
        images: Images of the training set, in place of ``steps_per_epoch``; also for ``optimizer=auto``.
        classes: Classes of the data set; only for ``optimizer=auto`` where it comes to AdamW.
        epochs: Epochs, in place of what ``args`` says.
        batch_size: Images in a batch, of all devices together, in place of ``batch`` in ``args``.
        optimizer: The optimizer, in place of what ``args`` says.
        cos_lr: Half a cosine instead of a line, in place of what ``args`` says.
        boosted: With MuSGD the parameters whose lr is tripled, as a glob or condition: in Ultralytics the class branch
            of the head (``cv3``, ``one2one_cv3``). None: none.
        outputs: With MuSGD which axis of a kernel is the outputs: ``"last"`` for Flax and Haiku, ``"first"`` for
            Equinox.
        version: The release that trained, such as ``"8.3.40"``. Where left out, the newest that the arguments in the
            file allow; if older ones are possible and differ, ``notes`` says at how many steps, and `lint` warns.

    Returns:
        A recipe; ``notes`` lists the arguments that are not part of it.

    Raises:
        TypeError: If a value is of the wrong type.
        ValueError: If ``version`` is no release from 8.0.100 on, an argument is not known or out of its range, ``time``
            is set or ``batch`` left to Ultralytics (lengths are then not known beforehand), or what a choice needs is
            missing.

    Example:
        >>> import jaxsched as js
        >>> args = dict(optimizer="SGD", epochs=100, batch=16)
        >>> recipe = js.ports.ultralytics.recipe(args, steps_per_epoch=500)
        >>> curves = js.curves(recipe, [0, 1500, 49999])
        >>> [round(float(lr), 6) for lr in curves["weight"]["lr"]]
        [0.0, 0.009703, 0.000199]
    """
    where, given = shared.read(args, "args")
    low, high = (parse(version), parse(version)) if version is not None else span(given)
    over = {"epochs": epochs, "batch": batch_size, "optimizer": optimizer, "cos_lr": cos_lr}
    given |= {name: value for name, value in over.items() if value is not None}
    settings = shared.Settings(where, given, DEFAULTS)
    a = _checked(settings)
    steps_per_epoch = shared.epoch_length(where, steps_per_epoch, images, a["batch"])
    of = dict(where=where, a=a, steps_per_epoch=steps_per_epoch, images=images, classes=classes)
    newest, *older = distinct(low, high)
    made = _made(release(newest), **of, boosted=boosted, outputs=outputs)
    others, unknown = {}, {}
    for other in older:
        try:
            others[written(other)] = _made(release(other), **of, boosted=boosted, outputs=outputs or "last")
        except ValueError as error:
            unknown[written(other)] = f"not known: {error}"
    doubts = shared.compared(made, others) | unknown
    notes = settings.rest(aside=_OTHERS)
    if doubts:
        listed = "; ".join(f"as {name} or earlier: {difference}" for name, difference in doubts.items())
        text = f"{where} is read as Ultralytics {written(newest)}, which its arguments leave open; {listed}"
        notes.append(caution("version-open", text))
    return made.replace(notes=(*made.notes, *notes))


def _made(
    rules: Release,
    *,
    where: str,
    a: dict[str, Any],
    steps_per_epoch: int,
    images: int | None,
    classes: int | None,
    boosted: Match | None,
    outputs: str | None,
) -> Recipe:
    """The recipe under the rules of one release."""
    loop, epochs, batch, nbs = rules.loop, a["epochs"], a["batch"], a["nbs"]
    nominal = max(round(nbs / batch), 1)
    decay = a["weight_decay"] * batch * nominal / nbs
    steps = epochs * steps_per_epoch
    warm_epochs = min(a["warmup_epochs"], epochs - 1) if rules.caps_warmup else a["warmup_epochs"]
    warmup_steps = max(round(warm_epochs * steps_per_epoch), loop.shortest_warmup)
    if rules.skips_warmup and a["warmup_epochs"] <= 0:
        warmup_steps = 0
    choice = _choose(where, rules, a, images, classes)

    def lr(peak: float, group: str) -> Schedule:
        start = choice.warmup_bias_lr if group == rules.warms_down else 0.0
        by_epoch = loop.decay(peak, peak * a["lrf"], epochs, a["cos_lr"])
        return loop.lr(by_epoch, start, warmup_steps, steps_per_epoch, epochs)

    momentum: Any = choice.momentum
    if warmup_steps:
        momentum = warmup(constant(a["momentum"]), warmup_steps, a["warmup_momentum"])
    hyperparameters: dict[str, Any] = {"lr": lr(choice.lr, ""), "weight_decay": 0.0}
    hyperparameters |= _options(choice, rules, momentum, outputs)
    use_muon = choice.name == "MuSGD"
    groups: dict[str, dict[str, Any]] = {"weight": {"weight_decay": decay}, "bias": {}}
    groups[rules.warms_down]["lr"] = lr(choice.lr, rules.warms_down)
    conditions = {"bias": contains("bias") | role("bias", "norm_bias"), "bn": role("norm") | contains("logit_scale")}
    if use_muon:
        conditions = {"muon": ndim(2) | ndim(4), **conditions}
        groups["muon"] = {"weight_decay": decay, "use_muon": True}
    rules_of = [(condition, name) for name, condition in conditions.items()] + [(Condition("all", ()), "weight")]
    notes = [choice.why] if choice.why else []
    if use_muon and boosted is not None:
        for _, name in rules_of:
            groups[_boosted(name)] = {**groups.get(name, {}), "lr": lr(BOOST * choice.lr, name)}
        few = as_condition(boosted)
        rules_of = [
            pair for condition, name in rules_of for pair in ((condition & few, _boosted(name)), (condition, name))
        ]
    elif use_muon:
        notes.append("no parameter has three times the lr, as the head's class branch has there: boosted=...")
    return Recipe(
        optimizer=choice.name.lower(),
        hyperparameters=hyperparameters,
        groups=groups,
        rules=tuple(Rule(condition, name, optional=True) for condition, name in rules_of),
        clip_norm=loop.clip_norm,
        accumulate=loop.accumulation(warmup_steps, nominal if rules.rounds_batches else nbs / batch, steps),
        ema=exponential_ramp(0.9999, 2000),
        steps=steps,
        steps_per_epoch=steps_per_epoch,
        batch_size=batch,
        nominal_batch_size=nbs,
        notes=tuple(notes),
        origin={
            "optimizer": f"{where}: optimizer={a['optimizer']}",
            "lr": f"{where}: lr0 {choice.lr}, lrf, warmup_epochs ({warmup_steps} iterations)",
            "bias.lr": f"{where}: warmup_bias_lr {choice.warmup_bias_lr}, then as the others",
            "weight.weight_decay": f"{where}: weight_decay {a['weight_decay']} x {batch} x {nominal} / {nbs}",
        },
    )


def _boosted(name: str) -> str:
    return f"{name}_boosted"


def _checked(settings: shared.Settings) -> dict[str, Any]:
    if (hours := settings.take("time")) is not None:
        raise ValueError(
            f"{settings.where}: time={short(hours)} makes the length depend on the machine; set epochs and no time"
        )
    optimizer = settings.take("optimizer")
    if (name := str(optimizer).lower()) not in _OPTIMIZERS:
        raise ValueError(
            f"{settings.at('optimizer')} must be one of {', '.join(_OPTIMIZERS.values())}, got {short(optimizer)}"
        )
    batch = settings.number("batch")
    if batch < 1:
        raise ValueError(
            f"{settings.where}: batch={batch!r} leaves it to Ultralytics; set the batch size that it chose"
        )
    return {
        "optimizer": _OPTIMIZERS[name],
        "cos_lr": settings.flag("cos_lr"),
        "batch": shared.as_count(settings.at("batch"), batch),
        **{field: settings.count(field, least=1) for field in ("epochs", "nbs")},
        **{
            field: settings.number(field, low=0.0)
            for field in ("lr0", "lrf", "weight_decay", "warmup_epochs", "warmup_bias_lr")
        },
        **{field: settings.beta(field) for field in ("momentum", "warmup_momentum")},
    }


def _choose(where: str, rules: Release, a: dict[str, Any], images: int | None, classes: int | None) -> _Choice:
    """What ``optimizer=`` comes to; ``auto`` by the length of the run and the number of classes."""
    if a["optimizer"] != "auto":
        return _Choice(a["optimizer"], a["lr0"], a["momentum"], a["warmup_bias_lr"])
    if rules.auto is None:
        raise ValueError(f"{where}: optimizer=auto is of 8.0.113 and later")
    if images is None:
        raise ValueError(f"{where}: optimizer=auto depends on the length of the run: give images=...")
    updates = math.ceil(shared.as_count("images", images) / max(a["batch"], a["nbs"])) * a["epochs"]
    is_long = updates > rules.auto_after
    name = rules.auto[0 if is_long else 1]
    lr, formula = 0.01, ""
    if name == "NAdam":
        lr = 0.001
    elif not is_long:
        if classes is None:
            raise ValueError(
                f"{where}: optimizer=auto: {updates} updates, so {name}, whose lr depends on the number of classes: "
                "give classes=..."
            )
        lr, formula = round(0.002 * 5 / (4 + shared.as_count("classes", classes)), 6), f"0.01 / (4 + {classes}) = "
    why = (
        f"optimizer=auto: {updates} updates, {'' if is_long else 'not '}more than {rules.auto_after}, so {name} with "
        f"lr {formula}{lr} and {'first beta' if name in ('AdamW', 'NAdam') else 'momentum'} 0.9; lr0 and momentum are "
        "ignored, biases warm up from 0"
    )
    return _Choice(name, lr, 0.9, 0.0, why)


def _options(choice: _Choice, rules: Release, momentum: Any, outputs: str | None) -> dict[str, Any]:
    if choice.name == "SGD":
        return {"momentum": momentum, "nesterov": True}
    if choice.name == "MuSGD":
        if not rules.has_musgd:
            raise ValueError("MuSGD before 8.4.8 had other coefficients, which are not covered")
        if outputs is None:
            raise ValueError(
                "MuSGD needs to know which axis of a kernel is the outputs: outputs='last' (Flax, Haiku) or 'first' "
                "(Equinox)"
            )
        return {"momentum": momentum, "nesterov": True, "muon": 0.2, "sgd": 1.0, "outputs": outputs}
    if choice.name == "RMSprop":
        return {"momentum": momentum}
    return {"betas": (choice.momentum, 0.999)}


def _is_args(file: shared.File) -> bool:
    marks = {"task", "mode"} <= file.names or bool({"imgsz", "nbs", "batch", "close_mosaic"} & file.names)
    return marks and bool({"epochs", "lr0", "batch", "nbs"} & file.names) and "hyp" not in file.names


KINDS = (shared.Kind("ultralytics", "an args.yaml of Ultralytics", _is_args, recipe, ("args.yaml",)),)
