"""Starting from trained weights: which arrays are taken over, at what rate the body learns, what is frozen."""

from __future__ import annotations

import numpy as np
from flax import nnx

import jaxsched as js
from examples.detector.weights import Weights, flat_state, load_arrays


def head_and_body(recipe: js.Recipe, body_rate: float) -> js.Recipe:
    """The recipe with the learning rate of all but the head times `body_rate`: groups "bias", "body_bias", ..."""
    if body_rate == 1:
        return recipe
    groups = dict(recipe.groups)
    for group, values in recipe.by_group().items():
        if values is not None:
            groups[f"body_{group}"] = {**(groups.get(group) or {}), "lr": body_rate * values["lr"]}
    head = [js.groups.Rule(js.groups.glob("head/**") & rule.match, rule.group, optional=True) for rule in recipe.rules]
    body = [js.groups.Rule(rule.match, f"body_{rule.group}", rule.optional) for rule in recipe.rules]
    return recipe.replace(groups=groups, rules=(*head, *body))


def frozen(recipe: js.Recipe, paths: tuple[str, ...]) -> js.Recipe:
    """The recipe without updates of the parameters of `paths` (globs)."""
    if not paths:
        return recipe
    rules = (*(js.groups.Rule(path, "frozen") for path in paths), *recipe.rules)
    return recipe.replace(groups={**recipe.groups, "frozen": None}, rules=rules)


def start_from(model: nnx.Module, weights: Weights) -> list[str]:
    """Put `weights` into the model; its head keeps its initial values where the number of classes differs.

    Returns:
        What was left out, in words.
    """
    own = {path: np.asarray(value) for path, value in flat_state(model).items()}
    head = [path for path in own if path.startswith("head/")]
    theirs = weights.arrays
    if all(path in theirs and np.shape(theirs[path]) == own[path].shape for path in head):
        load_arrays(model, theirs)
        return []
    load_arrays(model, {**theirs, **{path: own[path] for path in head}})
    classes = len(weights.description.names)
    return [f"--weights: of {classes} classes, the data has {model.classes}, so the head starts from scratch"]
