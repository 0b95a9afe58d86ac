"""The recipe in an args.yaml of Ultralytics (up to 8.4.190; written from its behaviour)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxsched.checks import short
from jaxsched.groups import Condition, Match, Rule, as_condition, contains, ndim, role
from jaxsched.ports import shared
from jaxsched.ports.ultralytics._releases import Rules, candidates, parse, rules_of
from jaxsched.recipe import Recipe, caution
from jaxsched.schedules import exponential_ramp

LARGEST_NORM = 10.0
"""The norm at which all gradients together are clipped."""
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
    task mode model data patience v5loader line_thickness hide_labels hide_conf boxes image_weights fl_gamma
    min_memory end2end imgsz save save_period cache device workers project name exist_ok pretrained
    cls_remap verbose seed deterministic single_cls rect close_mosaic resume amp fraction profile multi_scale
    compile channels_last overlap_mask mask_ratio dropout val split save_json save_hybrid conf iou max_det half
    quantize dnn plots nms source vid_stride stream_buffer visualize augment augmentations agnostic_nms classes
    retina_masks embed show save_frames save_txt save_conf save_crop show_labels show_conf show_boxes line_width
    format keras int8 optimize dynamic simplify opset workspace distill_model dis box cls cls_pw dfl pose kobj rle
    angle dlog dgrad dlam label_smoothing hsv_h hsv_s hsv_v degrees translate scale shear perspective flipud fliplr
    bgr mosaic mixup cutmix copy_paste copy_paste_mode auto_augment erasing crop_fraction cfg tracker save_dir
"""
_OTHERS = tuple(_OTHERS_TEXT.split())
"""Arguments of data, loss, validation, prediction and export."""

_OPTIMIZERS = {
    name.lower(): name for name in ("Adam", "Adamax", "AdamW", "NAdam", "RAdam", "RMSprop", "SGD", "MuSGD", "auto")
}


class _Choice(NamedTuple):
    """What ``optimizer=`` comes to.

    Attributes:
        momentum: Of the optimizer as it is made; warm-up moves it.
    """

    name: str
    lr: float
    momentum: float
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

    Up to 8.4.102 warm-up takes at least 100 iterations; up to 8.1.41 the lr is one epoch late; up to 8.2.6 what is left
    at the end of an epoch is dropped; up to 8.4.182 accumulation climbs to ``nbs / batch`` unrounded; from 8.4.103 to
    8.4.182 warm-up leaves out its last iteration, and momentum stays where it is then;
    ``optimizer=auto`` comes to SGD, not MuSGD, up to 8.3; in 8.4.0 to 8.4.2 the weights have the warm-up of the biases.
    The release is found from the keys of an args.yaml, which holds all that its release knows. Where they leave it
    open and the numbers depend on it, the latest is taken, and a note of the recipe says what the others would do.

    ``optimizer=auto`` is a decision, which ``notes`` tells: in a run of more than 10,000 updates (``ceil(images /
    max(batch, nbs)) * epochs``) MuSGD with lr 0.01, else AdamW with lr ``0.01 / (4 + classes)`` (6 decimals) and first
    beta 0.9; ``lr0`` is ignored and biases warm up from 0. MuSGD's momentum is said to be 0.9, but warm-up leads it to
    ``momentum``, where it stays, as in the original.

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
        version: The release of Ultralytics, such as ``"8.3.40"``; found from the keys where left out.

    Returns:
        A recipe; ``notes`` lists the arguments that are not part of it.

    Raises:
        TypeError: If a value is of the wrong type.
        ValueError: If an argument is not known or out of its range, ``time`` is set or ``batch`` left to Ultralytics
            (lengths are then not known beforehand), or what a choice needs is missing.

    Examples:
        >>> import jaxsched as js
        >>> args = dict(optimizer="SGD", epochs=100, batch=16)
        >>> recipe = js.ports.ultralytics.recipe(args, steps_per_epoch=500, version="8.4.190")
        >>> curves = js.curves(recipe, [0, 1500, 49999])
        >>> [round(float(lr), 6) for lr in curves["weight"]["lr"]]
        [0.0, 0.009703, 0.000199]
    """
    over = {"epochs": epochs, "batch": batch_size, "optimizer": optimizer, "cos_lr": cos_lr}
    where, a, possible, notes = read_args(args, over, version)
    epochs, batch = a["epochs"], a["batch"]
    steps_per_epoch = shared.epoch_length(where, steps_per_epoch, images, batch)
    chosen, rules = possible[-1], rules_of(possible[-1])
    loop = loop_of(where, a, rules, steps_per_epoch)
    updates = _updates(a, images, steps_per_epoch)
    choice = _choose(where, a, rules, updates, classes)
    others = {}
    for other in possible[:-1]:
        others[other] = _differs(where, a, (loop, rules, choice), rules_of(other), updates, classes)
    starts = _starts(rules, choice)

    momentum = loop.warmed(a["warmup_momentum"], a["momentum"]) if loop.warmup_steps else choice.momentum
    decay = loop.scaled_decay(a["weight_decay"])
    hyperparameters: dict[str, Any] = {"lr": loop.lr(choice.lr, 0.0), "weight_decay": 0.0}
    hyperparameters |= _options(where, choice, rules, momentum, outputs, updates)
    use_muon = choice.name == "MuSGD"
    groups: dict[str, dict[str, Any]] = {"weight": {"weight_decay": decay}, "bias": {}}
    for name, start in starts.items():
        groups[name]["lr"] = loop.lr(choice.lr, start)
    conditions = {"bias": contains("bias") | role("bias", "norm_bias"), "bn": role("norm") | contains("logit_scale")}
    if use_muon:
        kernels = ndim(2) | ndim(4)
        conditions = {"muon": kernels | ndim(3) | ndim(5) if rules.flat else kernels, **conditions}
        groups["muon"] = {"weight_decay": decay, "use_muon": True}
    rows = [(condition, name) for name, condition in conditions.items()] + [(Condition("all", ()), "weight")]
    notes += _explained(where, a, choice)
    if use_muon and boosted is not None:
        for _, name in rows:
            boost = loop.lr(BOOST * choice.lr, starts.get(name, 0.0))
            groups[_boosted(name)] = {**groups.get(name, {}), "lr": boost}
        few = as_condition(boosted)
        rows = [pair for condition, name in rows for pair in ((condition & few, _boosted(name)), (condition, name))]
    elif use_muon:
        notes.append("no parameter has three times the lr, as the head's class branch has there: boosted=...")
    return Recipe(
        optimizer=choice.name.lower(),
        hyperparameters=hyperparameters,
        groups=groups,
        rules=tuple(Rule(condition, name, optional=True) for condition, name in rows),
        clip_norm=LARGEST_NORM,
        accumulate=loop.accumulation(),
        ema=exponential_ramp(0.9999, 2000),
        steps=epochs * steps_per_epoch,
        steps_per_epoch=steps_per_epoch,
        batch_size=batch,
        nominal_batch_size=a["nbs"],
        notes=(
            *notes,
            *shared.longer_warmup(where, a["warmup_epochs"], steps_per_epoch, loop.warmup_steps),
            *shared.open_version(where, chosen, others),
        ),
        origin={
            "optimizer": f"{where}: optimizer={a['optimizer']}",
            "lr": f"{where}: lr0 {choice.lr}, lrf, warmup_epochs ({loop.warmup_steps} iterations)",
            **{f"{name}.lr": f"{where}: warmup_bias_lr {start}, then as the others" for name, start in starts.items()},
            "weight.weight_decay": f"{where}: weight_decay {a['weight_decay']} x {batch} x {loop.gathered} / "
            f"{a['nbs']}",
        },
    )


def read_args(
    args: Any, over: Mapping[str, Any], version: str | None = None
) -> tuple[str, dict[str, Any], list[str], list[str]]:
    """What to call a file in errors, its checked arguments, the releases it may be of (latest last), and notes."""
    where, given = shared.read(args, "args")
    given = {name: None if str(value).lower() == "none" else value for name, value in given.items()}  # default.yaml's
    given |= {name: value for name, value in over.items() if value is not None}
    settings = shared.Settings(where, given, DEFAULTS)
    notes = _frozen(where, settings)
    a = _checked(settings)
    return where, a, _possible(given, a["optimizer"], version), [*notes, *settings.rest(aside=_OTHERS)]


def _possible(given: Mapping[str, Any], optimizer: str, version: Any) -> list[str]:
    """The releases that the settings may be of, the latest last."""
    if version is not None:
        return [".".join(map(str, parse(version)))]
    found = candidates(set(given))
    if optimizer == "auto" and "optimizer" in given:
        found = [release for release in found if rules_of(release).auto] or found
    if optimizer == "MuSGD":
        found = [release for release in found if rules_of(release).muon] or found
    return found


def loop_of(where: str, a: Mapping[str, Any], rules: Rules, steps_per_epoch: Any) -> shared.Loop:
    epochs, warm_epochs = a["epochs"], a["warmup_epochs"]
    if rules.shortest == 0:
        warm_epochs = min(warm_epochs, epochs - 1)
    if warm_epochs > 0 or not (rules.optional or rules.shortest == 0):
        warmup_steps = shared.warmup_steps(warm_epochs, steps_per_epoch, rules.shortest)
    else:
        warmup_steps = 0
    loop = shared.Loop(
        epochs=epochs,
        steps_per_epoch=steps_per_epoch,
        batch_size=a["batch"],
        nominal_batch=a["nbs"],
        curve="cosine" if a["cos_lr"] else "line",
        floor=a["lrf"],
        warmup_steps=warmup_steps,
        late=rules.late,
        open_warmup=rules.open_warmup,
        drop=rules.drop,
        rounded=rules.rounded,
        capped=rules.capped,
    )
    if min(loop.gathered, epochs * np.max(steps_per_epoch, initial=1)) > shared.MOST_BATCHES:
        raise ValueError(f"{where}: nbs / batch must be at most {shared.MOST_BATCHES}, got {a['nbs']} / {a['batch']}")
    return loop


def _starts(rules: Rules, choice: _Choice) -> dict[str, float]:
    """Where warm-up begins, for the groups in which it is not at 0."""
    return {"bias": 0.0, rules.warmed: choice.warmup_bias_lr}


def _differs(
    where: str,
    a: Mapping[str, Any],
    ours: tuple[shared.Loop, Rules, _Choice],
    rules: Rules,
    updates: range,
    classes: Any,
) -> str:
    """In words what other rules would do otherwise."""
    loop, our_rules, choice = ours
    other = loop_of(where, a, rules, loop.steps_per_epoch)
    try:
        their = _choose(where, a, rules, updates, classes)
    except shared.MissingError:
        return "optimizer=auto comes to another optimizer"
    if (their.name, their.lr) != (choice.name, choice.lr):
        return f"the optimizer is {their.name} with lr {their.lr:g}"
    groups = ("bias", "bn", "weight")
    ratio = [
        tuple(_starts(r, c).get(group, 0.0) / (c.lr or 1.0) for group in groups)
        for r, c in ((our_rules, choice), (rules, their))
    ]
    text = shared.what_differs(loop, other, *ratio)
    if choice.name == "MuSGD" and our_rules.muon != rules.muon:
        text = ", ".join(filter(None, [text, "MuSGD weighs its two parts otherwise"]))
    return text


def _explained(where: str, a: Mapping[str, Any], choice: _Choice) -> list[str]:
    """What ``optimizer=auto`` came to, with a caution where the file sets an lr0 that it ignores."""
    if choice.why is None:
        return []
    if a["lr0"] == DEFAULTS["lr0"] or a["lr0"] == choice.lr:
        return [choice.why]
    text = f"{where}: lr0 is {a['lr0']:g}, and optimizer=auto takes {choice.lr:g} instead"
    return [choice.why, caution("ignored-lr", text)]


def _frozen(where: str, settings: shared.Settings) -> list[str]:
    """A caution where layers are frozen: which parameters these are, the file does not say."""
    value = settings.take("freeze", None)
    if value is None or value == 0 or value == []:
        return []
    said = f"layers {short(value)}" if isinstance(value, list) else f"the first {short(value)} layers"
    return [
        caution(
            "freeze",
            f"{where}: freeze freezes {said} there and nothing here; put rules for them first, "
            "('backbone/**', 'frozen'), and groups={'frozen': None}",
        )
    ]


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
        raise shared.MissingError(settings.where, f"batch={batch!r} leaves it to Ultralytics", ["batch_size"])
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


def _updates(a: Mapping[str, Any], images: int | None, steps_per_epoch: int) -> range:
    """How many updates Ultralytics expects of the run, from the fewest to the most that the images may be."""
    images = None if images is None else shared.as_count("images", images)
    fewest = images or (steps_per_epoch - 1) * a["batch"] + 1
    most = images or steps_per_epoch * a["batch"]
    each = max(a["batch"], a["nbs"])
    return range(math.ceil(fewest / each) * a["epochs"], math.ceil(most / each) * a["epochs"] + 1)


def fitted_lr(classes: int) -> float:
    """The lr that ``optimizer=auto`` fits to the number of classes."""
    return round(0.002 * 5 / (4 + classes), 6)


def _are_many(where: str, why: str, updates: range, many: int) -> bool:
    if updates[0] <= many < updates[-1]:
        raise shared.MissingError(where, f"{why} depends on the length of the run", ["images"])
    return updates[0] > many


def _choose(where: str, a: Mapping[str, Any], rules: Rules, updates: range, classes: int | None) -> _Choice:
    name = a["optimizer"]
    if name == "auto" and rules.auto is None:
        name = "SGD"
    if name != "auto":
        return _Choice(name, a["lr0"], a["momentum"], a["warmup_bias_lr"])
    auto = rules.auto
    assert auto
    long = _are_many(where, "optimizer=auto", updates, auto.many)
    part, name = ("long", auto.long) if long else ("short", auto.short)
    said = f"optimizer=auto: {'' if long else 'not '}more than {auto.many} updates, so {name}"
    ignored = "lr0 is ignored, biases warm up from 0"
    if part not in auto.fitted:
        lr = 0.001 if name == "NAdam" else 0.01
        return _Choice(name, lr, 0.9, 0.0, f"{said} with lr {lr}; {ignored}")
    if classes is None:
        raise shared.MissingError(where, f"{said}, whose lr depends on the number of classes", ["classes"])
    lr = fitted_lr(shared.as_count("classes", classes))
    return _Choice(name, lr, 0.9, 0.0, f"{said} with lr 0.01 / (4 + {classes}) = {lr} and first beta 0.9; {ignored}")


def _options(
    where: str, choice: _Choice, rules: Rules, momentum: Any, outputs: str | None, updates: range
) -> dict[str, Any]:
    if choice.name == "SGD":
        return {"momentum": momentum, "nesterov": True}
    if choice.name == "MuSGD":
        if outputs is None:
            raise ValueError(
                "MuSGD needs to know which axis of a kernel is the outputs: outputs='last' (Flax, Haiku) or 'first' "
                "(Equinox)"
            )
        if rules.muon is None:
            raise ValueError(f"{where}: MuSGD is in Ultralytics from 8.4.0 on")
        long, few = rules.muon
        muon, sgd = long if long == few or _are_many(where, "MuSGD", updates, 10_000) else few
        return {"momentum": momentum, "nesterov": True, "muon": muon, "sgd": sgd, "outputs": outputs}
    if choice.name == "RMSprop":
        return {"momentum": momentum}
    return {"betas": (choice.momentum, 0.999)}
