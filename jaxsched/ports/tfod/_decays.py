"""The weight decay of the parts of a model: the L2 regularizers in its ``hyperparams``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from jaxsched.checks import one_line, short
from jaxsched.groups import Rule, glob, role
from jaxsched.ports.shared import MissingError
from jaxsched.ports.tfod._message import Message
from jaxsched.recipe import caution


class Decays(NamedTuple):
    """The weight decay of the group ``weight``, and of the parts that have a group of their own.

    Attributes:
        rest: Of all weights that no part has.
        parts: By the name of a part.
        rules: What belongs to the parts.
    """

    rest: float
    parts: Mapping[str, float]
    rules: tuple[Rule, ...]


def decays(where: str, model: Any, paths: Mapping[str, str] | None, notes: list[str]) -> Decays:
    """The weight decays of a model.

    Raises:
        TypeError: If a value is of the wrong type.
        ValueError: If parts differ and ``paths`` does not say where their parameters are, or a regularizer is L1.
    """
    found = dict(_regularizers(f"{where}: model", model, ()))
    rules, parts = list[Rule](), dict[str, float]()
    for name, pattern in (paths or {}).items():
        own = {path for path in found if name in path.split(".")}
        weights = {found.pop(path) for path in own}
        if not own:
            known = ", ".join(found) or "none"
            raise ValueError(f"paths: {short(name)} has no hyperparams in {where}; they are in {one_line(known, 300)}")
        if len(weights) > 1:
            raise ValueError(f"paths: the parts of {short(name)} have different regularizers: {short(sorted(weights))}")
        parts[name] = weights.pop()
        rules.append(Rule(glob(pattern) & role("weight"), name))
    rest = set(found.values())
    if len(rest) > 1:
        listed = ", ".join(f"{path} {weight:g}" for path, weight in found.items())
        raise MissingError(
            where, f"its parts have different regularizers ({one_line(listed, 300)})", ["paths"], joined="or"
        )
    decay = rest.pop() if rest else 0.0
    if decay or any(parts.values()):
        notes += _of_extractor(where, model, decay)
    return Decays(decay, parts, tuple(rules))


def _regularizers(where: str, value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, float]]:
    """The L2 weight of each ``*hyperparams`` in a message, by its path."""
    for item in value if isinstance(value, list) else [value]:
        if not isinstance(item, dict):
            continue
        if path and path[-1].endswith("hyperparams"):
            yield ".".join(path), _weight(f"{where}: {'.'.join(path)}", item.get("regularizer"))
        for name, inner in item.items():
            yield from _regularizers(where, inner, (*path, name))


def _weight(where: str, regularizer: Any) -> float:
    a = Message(f"{where}.regularizer", {} if regularizer is None else regularizer)
    found: float = 0.0
    for name in ("l2_regularizer", "l1_regularizer"):
        if name in a.values:
            own = Message(a.at(name), a.take(name))
            found = own.number("weight", 1.0, low=0.0)
            own.finish()
            if found and name == "l1_regularizer":
                raise ValueError(f"{a.at(name)} is not a weight decay; keep it in the loss, and set its weight to 0")
    a.finish()
    return found


def _of_extractor(where: str, model: Any, decay: float) -> list[str]:
    """A caution where the layers of the feature extractor may have another decay than the file says."""
    for kind in model.values() if isinstance(model, dict) else ():
        extractor = kind.get("feature_extractor") if isinstance(kind, dict) else None
        if not isinstance(extractor, dict) or extractor.get("override_base_feature_extractor_hyperparams") is True:
            continue
        name = str(extractor.get("type", ""))
        if "mobilenet" in name and decay == _MOBILENET:
            continue
        text = f"{where}: the layers of the feature extractor {one_line(name, 60)} itself have the decay of their code "
        text += f"(none in Faster R-CNN, {_MOBILENET:g} in MobileNet), which is not in the file; here it is {decay:g}"
        return [caution("left-out", text)]
    return []


_MOBILENET = 4e-5
"""Of MobileNet's own layers, in tf_slim and in Keras."""
