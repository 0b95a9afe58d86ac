"""The recipe in an args.yaml of Ultralytics (up to 8.4.190; written from its behaviour)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxsched.groups import Condition, Match, Rule, as_condition, contains, ndim, role
from jaxsched.ports import shared
from jaxsched.ports.ultralytics._args import read_args
from jaxsched.ports.ultralytics._choice import Choice, choose, explained, options_of, starts_of, updates_of
from jaxsched.ports.ultralytics._releases import Rules, rules_of
from jaxsched.recipe import Recipe
from jaxsched.schedules import exponential_ramp

LARGEST_NORM = 10.0
"""The norm at which all gradients together are clipped."""
BOOST = 3.0
"""What the lr of the class branch is multiplied by, with MuSGD."""


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
    updates = updates_of(a, images, steps_per_epoch)
    choice = choose(where, a, rules, updates, classes)
    others = {}
    for other in possible[:-1]:
        others[other] = _differs(where, a, (loop, rules, choice), rules_of(other), updates, classes)
    starts = starts_of(rules, choice)

    momentum = loop.warmed(a["warmup_momentum"], a["momentum"]) if loop.warmup_steps else choice.momentum
    decay = loop.scaled_decay(a["weight_decay"])
    hyperparameters: dict[str, Any] = {"lr": loop.lr(choice.lr, 0.0), "weight_decay": 0.0}
    hyperparameters |= options_of(where, choice, rules, momentum, outputs, updates)
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
    notes += explained(where, a, choice)
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


def _differs(
    where: str,
    a: Mapping[str, Any],
    ours: tuple[shared.Loop, Rules, Choice],
    rules: Rules,
    updates: range,
    classes: Any,
) -> str:
    """In words what other rules would do otherwise."""
    loop, our_rules, choice = ours
    other = loop_of(where, a, rules, loop.steps_per_epoch)
    try:
        their = choose(where, a, rules, updates, classes)
    except shared.MissingError:
        return "optimizer=auto comes to another optimizer"
    if (their.name, their.lr) != (choice.name, choice.lr):
        return f"the optimizer is {their.name} with lr {their.lr:g}"
    groups = ("bias", "bn", "weight")
    ratio = [
        tuple(starts_of(r, c).get(group, 0.0) / (c.lr or 1.0) for group in groups)
        for r, c in ((our_rules, choice), (rules, their))
    ]
    text = shared.what_differs(loop, other, *ratio)
    if choice.name == "MuSGD" and our_rules.muon != rules.muon:
        text = ", ".join(filter(None, [text, "MuSGD weighs its two parts otherwise"]))
    return text


def _boosted(name: str) -> str:
    return f"{name}_boosted"
