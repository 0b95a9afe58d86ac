"""The recipe in a ``.cfg`` of Darknet (AlexeyAB's 59596d78, whose rates are pjreddie's with ``sgdr`` added)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from jaxsched.checks import did_you_mean, short
from jaxsched.ports import shared
from jaxsched.ports.darknet._cfg import Net, layers_apart, sections
from jaxsched.ports.darknet._shapes import sigmoid_fall
from jaxsched.ports.shared import cosine_cycles, power_rise, shifted
from jaxsched.recipe import Recipe, caution
from jaxsched.schedules import Schedule, constant, exponential, piecewise, polynomial, step_decay

DEFAULTS: Mapping[str, Any] = {
    "batch": 1,
    "subdivisions": 1,
    "learning_rate": 0.001,
    "learning_rate_min": 0.00001,
    "momentum": 0.9,
    "decay": 0.0001,
    "policy": "constant",
    "burn_in": 0,
    "power": 4,
    "gamma": 1,
    "step": 1,
    "scale": 1,
    "sgdr_mult": 2,
    "time_steps": 1,
    "adam": 0,
}
"""What Darknet takes where ``[net]`` says nothing."""
_POLICIES = ("constant", "step", "steps", "exp", "poly", "sigmoid", "sgdr", "random")
_OTHERS_TEXT = """
    height width channels inputs max_crop min_crop max_ratio min_ratio center angle aspect saturation exposure hue flip
    blur gaussian_noise mixup cutmix mosaic mosaic_bound letter_box label_smooth_eps resize_step attention
    adversarial_lr max_chart_loss track augment_speed try_fix_nan use_cuda_graph loss_scale optimized_memory
    workspace_size_limit_MB contrastive contrastive_jit_flip contrastive_color unsupervised random notruth
    equidistant_point badlabels_rejection_percentage num_sigmas_reject_badlabels letterbox B1 B2 eps cudnn_half
    shift translate steps scales step scale gamma sgdr_cycle sgdr_mult learning_rate_min
"""
_OTHERS = frozenset(_OTHERS_TEXT.split())
"""Settings of the input, its augmentation and memory, and those of other policies."""
_CHANGERS = {
    "ema_alpha": "from half of max_batches on it averages the weights, and uses the average for the last 1000",
    "weights_reject_freq": "it resets weights that are similar",
    "dynamic_minibatch": "it changes the images in a batch with the resolution",
    "sequential_subdivisions": "it changes the images in a batch during the run",
    "seq_scales": "it changes the images in a batch during the run",
    "clip": "it bounds the weights",
}
"""Settings that change the update in a way that a recipe does not have."""


def recipe(cfg: shared.File | str | os.PathLike[str] | Mapping[str, Any]) -> Recipe:
    """The recipe that Darknet follows in training by a ``.cfg`` file, on one device.

    A step is one batch of ``batch`` images, whatever the ``subdivisions``; at step ``k``, from 0, the rate is that of
    ``n = k + 1``, since Darknet counts a batch before its update:

    - below ``burn_in``: ``learning_rate * (n / burn_in) ** power``
    - constant; step: ``* scale ** (n // step)``; steps: times each of ``scales`` from its ``steps`` on
    - exp: ``* gamma ** n``; poly: ``* (1 - n / max_batches) ** power``; sigmoid: ``/ (1 + exp(gamma * (n - step)))``
    - sgdr: cosines down to ``learning_rate_min``, in cycles that begin with ``sgdr_cycle`` batches

    SGD with momentum, and ``decay`` for weights only (group ``weight``), not for biases and scales of norms. Darknet
    sums the gradients of a batch and divides by its images: the loss in JAX is a mean over images of sums within each.

    Args:
        cfg: The path to a ``.cfg`` file, or the values of its ``[net]``.

    Returns:
        A recipe; ``notes`` lists what is left out, such as layers with a rate of their own.

    Raises:
        TypeError: If a value is of the wrong type.
        ValueError: If a value is missing or out of its range, the policy is ``random``, or ``adam`` is set.

    Examples:
        >>> import jaxsched as js
        >>> net = dict(
        ...     learning_rate=0.5, max_batches=8, burn_in=2, power=1, policy="steps", steps="4,6", scales=".5,.5")
        >>> js.curves(js.ports.darknet.recipe(net))["weight"]["lr"].tolist()
        [0.25, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125, 0.125]
    """
    where, a, notes = _read(cfg)
    length = a.whole("max_batches", least=1)
    divided = a.whole("subdivisions", least=1)
    mini, times = a.whole("batch", least=1) // divided, a.whole("time_steps", least=1)
    if not mini:
        raise ValueError(f"{a.at('batch')} must be at least subdivisions ({divided})")
    if a.number("adam"):
        raise ValueError(
            f"{a.at('adam')} is set: Darknet's Adam adds eps to sums of gradients over a batch; it is not ported"
        )
    policy = a.text("policy")
    lr = _rate(a, policy, length, notes)
    momentum, decay = a.beta("momentum"), a.number("decay", low=0.0)
    for name, what in _CHANGERS.items():
        if a.number(name, 0):
            notes.append(caution("left-out", f"{a.at(name)} is left out: {what}"))
    return Recipe(
        "sgd",
        {"lr": lr, "momentum": momentum, "weight_decay": 0.0},
        groups={"weight": {"weight_decay": decay}},
        steps=length,
        batch_size=mini * divided * times,
        notes=(*notes, *a.rest(aside=_OTHERS)),
        origin={"lr": f"{where}: policy {short(policy)}", "weight.weight_decay": f"{where}: decay"},
    )


def _read(cfg: Any) -> tuple[str, Net, list[str]]:
    given = shared.file_or_dict(cfg, "a .cfg file")
    if not isinstance(given, shared.File):
        return "net", Net("net", given, DEFAULTS), []
    (_, net), *layers = sections(given)
    apart = layers_apart(layers)
    text = f"{given.name}: {', '.join(apart[:5])}{' and more' if len(apart) > 5 else ''}"
    notes = [caution("left-out", f"{text}: left out; give these layers a group of their own")] if apart else []
    return given.name, Net(f"{given.name}: [net]", net, DEFAULTS), notes


def _rate(a: Net, policy: str, length: int, notes: list[str]) -> Schedule:
    """The rate by steps from 0; Darknet's own count is one ahead."""
    lr, power = a.number("learning_rate", low=0.0), a.number("power")
    if policy not in _POLICIES:
        hint = did_you_mean(policy, _POLICIES)
        notes.append(caution("left-out", f"{a.at('policy')}: Darknet does not know {short(policy)}: constant{hint}"))
    try:
        after = _cycles(a, lr, length) if policy == "sgdr" else shifted(_by_count(a, policy, lr, power, length), 1)
        burn = a.whole("burn_in")
        if burn < 2:  # the first batch counts as 1
            return after
        return piecewise([shifted(power_rise(lr, burn, power), 1), after], at=[burn - 1])
    except (TypeError, ValueError) as error:
        text = str(error)
        raise type(error)(text if text.startswith(a.where) else f"{a.where}: {text}") from None


def _by_count(a: Net, policy: str, lr: float, power: float, length: int) -> Schedule:
    if policy == "step":
        return step_decay(lr, a.whole("step", least=1), a.number("scale"))
    if policy == "steps":
        # YOLOv2's own files begin with -1, which acts from the first batch
        at = [shared.as_count(a.at("steps"), max(step, 0.0), 0) for step in a.each("steps")]
        scales = a.each("scales")
        if len(scales) < len(at) or at != sorted(at):
            raise ValueError(f"{a.at('steps')} must ascend, with a number in scales for each, got {short(at)}")
        values = [lr]
        for scale in scales[: len(at)]:
            values.append(values[-1] * shared.within(a.at("scales"), scale, 0.0, 1e6))
        return piecewise(values, at=at)
    if policy == "exp":
        return exponential(lr, a.number("gamma"))
    if policy == "poly":
        return polynomial(lr, 0.0, length, power)
    if policy == "sigmoid":
        return sigmoid_fall(lr, a.number("gamma"), a.whole("step"))
    if policy == "random":
        raise ValueError(f"{a.at('policy')} is random, which no recipe can repeat; choose another")
    return constant(lr)


def _cycles(a: Net, lr: float, length: int) -> Schedule:
    """Cosines whose last step is at the floor; step 0 is already one into the first."""
    floor, mult = a.number("learning_rate_min", low=0.0), a.whole("sgdr_mult", least=1)
    first = size = a.whole("sgdr_cycle", length, least=1)
    begin, starts, spans = 0, list[int](), list[tuple[float, float]]()
    while begin < length:
        if len(starts) == shared.MOST_CYCLES:
            raise ValueError(f"{a.at('sgdr_cycle')} makes more than {shared.MOST_CYCLES} cycles; make it longer")
        starts.append(begin)
        spans.append((1.0, float(size)))
        begin, size = begin + size, size * mult
    return cosine_cycles(lr, first, floor, cycles=len(starts), starts=[*starts, begin], spans=[*spans, (0.0, 1.0)])
