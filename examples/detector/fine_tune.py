"""Starting from trained weights: which arrays are taken over, at what rate the body learns, what is frozen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from flax import nnx

import jaxsched as js
from examples.detector.checkpoint import Checkpoints
from examples.detector.from_torch import flat_state, load_arrays


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
    """The recipe with the parameters of `paths` (globs) left as they are."""
    if not paths:
        return recipe
    rules = (*(js.groups.Rule(path, "frozen") for path in paths), *recipe.rules)
    return recipe.replace(groups={**recipe.groups, "frozen": None}, rules=rules)


def start_from(model: nnx.Module, weights: Path) -> list[str]:
    """Put `weights` (a run's folder, or an .npz) into the model; the head keeps its start where the classes differ.

    Returns:
        What was left out, in words.
    """
    if weights.is_dir():
        checkpoints = Checkpoints(weights / "checkpoints", read_only=True)
        arrays = checkpoints.weights()
        checkpoints.close()
    elif weights.is_file():
        if weights.suffix != ".npz":
            raise ValueError(f"--weights {weights} is no .npz; from_torch.py says how to write one from a torch model.")
        with np.load(weights, allow_pickle=False) as file:
            arrays = dict(file)
    else:
        raise ValueError(f"--weights {weights}: there is no such folder or file.")
    own = {path: np.asarray(value) for path, value in flat_state(model).items()}
    head = [path for path in own if path.startswith("head/")]
    if all(path in arrays and arrays[path].shape == own[path].shape for path in head):
        load_arrays(model, arrays)
        return []
    load_arrays(model, arrays | {path: own[path] for path in head})
    return [f"--weights {weights}: of other classes, so the head starts anew"]
