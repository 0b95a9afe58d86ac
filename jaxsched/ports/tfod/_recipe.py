"""The recipe in a ``pipeline.config`` (TensorFlow's Object Detection API, its last release of 2022)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from jaxsched.checks import short
from jaxsched.groups import BY_ROLE, Condition, Rule, as_condition, regex, role
from jaxsched.ports import shared
from jaxsched.ports.shared import before_correction
from jaxsched.ports.tfod._decays import decays
from jaxsched.ports.tfod._message import Message
from jaxsched.ports.tfod._rates import DEFAULTS as RATES
from jaxsched.ports.tfod._rates import rate
from jaxsched.ports.tfod._text import parse
from jaxsched.recipe import Recipe, caution
from jaxsched.schedules import Schedule, inverse_time, product
from jaxsched.transforms import ratio_ramp

TRAINERS = ("model_main_tf2", "model_main", "train")
"""The programs that train by such a file: of TensorFlow 2, of TensorFlow 1 by Estimator, and the legacy one."""
_OPTIMIZERS: Mapping[str, Mapping[str, Any]] = {
    "rms_prop_optimizer": {"learning_rate": RATES, "momentum_optimizer_value": 0.9, "decay": 0.9, "epsilon": 1.0},
    "momentum_optimizer": {"learning_rate": RATES, "momentum_optimizer_value": 0.9},
    "adam_optimizer": {"learning_rate": RATES, "epsilon": 1e-8},
}
DEFAULTS: Mapping[str, Any] = {
    "batch_size": 32,
    "num_steps": 0,
    "gradient_clipping_by_norm": 0.0,
    "bias_grad_multiplier": 0.0,
    "add_regularization_loss": True,
    "optimizer": {**_OPTIMIZERS, "use_moving_average": True, "moving_average_decay": 0.9999},
}
"""What the fields of ``train_config`` are where a file says nothing."""
_OTHERS_TEXT = """
    data_augmentation_options sync_replicas keep_checkpoint_every_n_hours fine_tune_checkpoint fine_tune_checkpoint_type
    fine_tune_checkpoint_version from_detection_checkpoint load_all_detection_checkpoint_vars startup_delay_steps
    run_fine_tune_checkpoint_dummy_computation replicas_to_aggregate batch_queue_capacity num_batch_queue_threads
    prefetch_queue_capacity merge_multiple_label_boxes use_multiclass_scores max_number_of_boxes use_bfloat16
    unpad_groundtruth_tensors retain_original_images summarize_gradients
"""
_OTHERS = frozenset(_OTHERS_TEXT.split())
"""Fields of ``train_config`` that do not change an update."""


def recipe(
    config: shared.File | str | os.PathLike[str] | Mapping[str, Any],
    *,
    trainer: str | None = None,
    steps: int | None = None,
    paths: Mapping[str, str] | None = None,
) -> Recipe:
    """The recipe that TensorFlow's Object Detection API follows in training by a ``pipeline.config``.

    A step is one batch of ``batch_size`` images. The optimizers are TensorFlow's: Momentum (whose Keras form, in
    ``model_main_tf2``, keeps the lr in the buffer), RMSProp with epsilon in the root, Adam with epsilon before the bias
    correction. L2 regularizers become the ``weight_decay`` of the group ``weight``; norms and biases have none.

    What the three programs do otherwise:

    - model_main_tf2: the average has the decay ``min(d, (1 + t) / (10 + t))`` at the t-th update; RMSProp's ``decay``
      is that of Keras, which divides the lr by ``1 + decay * step``; freeze_variables is not read.
    - model_main: clips by the global norm, as that of TensorFlow 2; freezes what a pattern is found in.
    - train: clips each gradient by its norm; freezes what a pattern matches from the start; multiplies the gradients of
      biases by bias_grad_multiplier.

    Args:
        config: The path to a ``pipeline.config``, or its content as nested dicts, with lists for repeated fields.
        trainer: The program that trains: "model_main_tf2", "model_main" or "train"; found from the feature extractor
            and the checkpoint's version where left out.
        steps: Batches of the run, in place of ``num_steps``.
        paths: By the name of a part of the model, such as ``box_predictor``, a glob of its parameters; needed where
            parts have different regularizers.

    Returns:
        A recipe; ``notes`` lists what is left out.

    Raises:
        ImportError: If protobuf is not installed.
        TypeError: If a value is of the wrong type.
        ValueError: If a field is missing, unknown in the optimizer, or out of its range.

    Examples:
        >>> import jaxsched as js
        >>> cosine = dict(learning_rate_base=0.08, total_steps=50, warmup_learning_rate=0.02, warmup_steps=10)
        >>> momentum = dict(learning_rate=dict(cosine_decay_learning_rate=cosine), momentum_optimizer_value=0.9)
        >>> config = dict(train_config=dict(optimizer=dict(momentum_optimizer=momentum), num_steps=50))
        >>> recipe = js.ports.tfod.recipe(config, trainer="model_main_tf2")
        >>> js.curves(recipe, [0, 5, 10, 30, 49])["weight"]["lr"].round(4).tolist()
        [0.019999999552965164, 0.05000000074505806, 0.07999999821186066, 0.03999999910593033, 9.999999747378752e-05]
    """
    where, content = _read(config)
    if "train_config" not in content:
        raise ValueError(f"{where}: 'train_config' is missing; add it")
    model, given = content.get("model", {}), Message(where, content).take("train_config")
    a = Message(f"{where}: train_config", given, DEFAULTS)
    notes: list[str] = []
    program = _trainer(trainer, model, a, notes)
    own = a.section("optimizer", {})
    name, inner = own.one_of(tuple(_OPTIMIZERS))
    policy, lr = rate(inner.section("learning_rate", {}), notes)
    optimizer, values = _optimizer(name, inner, lr, program, notes)
    average, decay = own.flag("use_moving_average"), own.number("moving_average_decay", low=0.0, high=1.0)
    inner.finish()
    own.finish()
    apart = decays(where, model, paths, notes)
    if not a.flag("add_regularization_loss"):
        apart = apart._replace(rest=0.0, parts=dict.fromkeys(apart.parts, 0.0))
    groups: dict[str, Any] = {"weight": {"weight_decay": apart.rest}}
    groups |= {part: {"weight_decay": value} for part, value in apart.parts.items()}
    clip = a.number("gradient_clipping_by_norm", low=0.0)
    if clip and (apart.rest or any(apart.parts.values())):
        text = (
            f"{a.at('gradient_clipping_by_norm')} clips the gradient of the loss with its L2 terms; here the decay is "
        )
        notes.append(caution("left-out", text + "added after clipping; keep the L2 terms in the loss if that matters"))
    rules, more = _frozen(a, program, (*apart.rules, *BY_ROLE), notes)
    bias = a.number("bias_grad_multiplier", low=0.0)
    if bias and program == "train":
        if clip or name != "momentum_optimizer":
            raise ValueError(
                f"{a.at('bias_grad_multiplier')} is ported for momentum_optimizer without clipping only; set it to 0, "
                "and multiply the gradients of biases before the update"
            )
        of_bias = (Rule(role("bias"), "bias", optional=True), Rule(role("norm_bias"), "norm", optional=True))
        rules, more = (*rules[: -len(BY_ROLE)], *of_bias, *BY_ROLE[1:]), {**more, "bias": {"lr": bias * values["lr"]}}
    elif bias:
        notes.append(f"{a.at('bias_grad_multiplier')} has no effect: {program} does not read it")
    length = a.count("num_steps")
    if steps is not None:
        length = shared.as_count("steps", steps)
    if not length:
        notes.append(f"{a.at('num_steps')} is 0: the run has no end; give steps=...")
    ramp = ratio_ramp(decay, steps=9, shift=2) if program == "model_main_tf2" else decay
    return Recipe(
        optimizer,
        {**values, "weight_decay": 0.0},
        groups={**groups, **more},
        rules=rules,
        clip_norm=clip if clip and program != "train" else None,
        clip_each_norm=clip if clip and program == "train" else None,
        ema=ramp if average else None,
        steps=length or None,
        batch_size=a.count("batch_size", least=1),
        notes=(*notes, *a.rest(aside=_OTHERS)),
        origin={"lr": f"{where}: {policy}", "weight.weight_decay": f"{where}: l2_regularizer"},
    )


def _read(config: Any) -> tuple[str, dict[str, Any]]:
    given = shared.file_or_dict(config, "a pipeline.config")
    return (given.name, parse(given)) if isinstance(given, shared.File) else ("config", given)


def _trainer(trainer: str | None, model: Any, a: Message, notes: list[str]) -> str:
    """The program that trains. Only that of TensorFlow 2 has CenterNet and extractors that end in _keras."""
    if trainer is not None:
        if trainer not in TRAINERS:
            raise ValueError(f"trainer must be one of {', '.join(TRAINERS)}, got {short(trainer)}")
        return trainer
    kinds = model if isinstance(model, dict) else {}
    extractors = [kind.get("feature_extractor") for kind in kinds.values() if isinstance(kind, dict)]
    names = [str(one.get("type", "")) for one in extractors if isinstance(one, dict)]
    new = "center_net" in kinds or a.values.get("fine_tune_checkpoint_version") in ("V2", 2)
    found = "model_main_tf2" if new or any(name.endswith("_keras") for name in names) else "model_main"
    notes.append(f"{a.where}: taken to be trained by {found}; give trainer= if it was another of {', '.join(TRAINERS)}")
    return found


def _optimizer(name: str, a: Message, lr: Schedule, program: str, notes: list[str]) -> tuple[str, dict[str, Any]]:
    keras = program == "model_main_tf2"
    if name == "adam_optimizer":
        return "adam", {"lr": lr, "eps": before_correction(a.number("epsilon", low=0.0), 0.999)}
    momentum = a.beta("momentum_optimizer_value")
    if name == "momentum_optimizer":
        return "sgd", {"lr": lr, "momentum": momentum, "form": "classic" if keras else "torch"}
    decay, epsilon = a.number("decay", low=0.0), a.number("epsilon", low=0.0)
    values: dict[str, Any] = {"lr": lr, "alpha": 0.9, "momentum": momentum, "lr_in_momentum": True}
    inside = bool(momentum) or not keras  # Keras' own equation, without momentum, has epsilon outside
    values |= {"eps": 0.0, "eps_root": epsilon} if inside else {"eps": epsilon}
    if not keras:
        return "rmsprop", {**values, "alpha": shared.within(a.at("decay"), decay, 0.0, 1.0), "initial_scale": 1.0}
    if decay:
        text = f"{a.at('decay')} divides the lr by 1 + {decay:g} * step in model_main_tf2, as Keras reads it up to "
        text += "TensorFlow 2.10; later ones refuse it. The average of squares keeps 0.9. Set it to 0 to turn it off"
        notes.append(caution("left-out", text))
        values["lr"] = product(lr, inverse_time(1.0, decay))
    return "rmsprop", values


def _frozen(
    a: Message, program: str, rules: Sequence[Rule], notes: list[str]
) -> tuple[tuple[Rule, ...], dict[str, Any]]:
    """The rules, with a group ``frozen`` for what the patterns of the file keep from training."""
    freeze, update = a.texts("freeze_variables"), a.texts("update_trainable_variables")
    reads = {"train": ["freeze_variables"], "model_main": ["freeze_variables", "update_trainable_variables"]}
    for name, patterns in (("freeze_variables", freeze), ("update_trainable_variables", update)):
        if patterns and name not in reads.get(program, []):
            notes.append(f"{a.at(name)} has no effect: {program} does not read it")
            patterns.clear()
    if program == "train":
        freeze = [f"^(?:{pattern})" for pattern in freeze if pattern]
    if not freeze and not update:
        return tuple(rules), {}
    notes.append(
        f"{a.where}: the patterns of frozen variables are applied to the paths of your parameters, such as "
        "FeatureExtractor/conv/kernel"
    )
    frozen: list[Rule] = [Rule(_found(a, "freeze_variables", pattern), "frozen") for pattern in freeze]
    if update:
        trained = [_found(a, "update_trainable_variables", pattern) for pattern in update]
        some = trained[0]
        for other in trained[1:]:
            some = some | other
        rules = [rule._replace(match=as_condition(rule.match) & some) for rule in rules]
        return (*frozen, *rules, Rule("**", "frozen", optional=True)), {"frozen": None}
    return (*frozen, *rules), {"frozen": None}


def _found(a: Message, name: str, pattern: str) -> Condition:
    try:
        return regex(pattern)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{a.at(name)}: {error}") from None
