"""The parameters of a tree: each has a path (``"backbone/conv1/kernel"``) and a role (``weight``, ``norm``, ...)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax

from jaxsched.groups._boxes import is_variable

Tree = Any

ROLES = ("weight", "norm", "norm_bias", "bias")
"""The roles of parameters: a weight, the scale of a normalisation, its bias, or any other bias."""


class Parameter(NamedTuple):
    """What a rule sees of a parameter.

    Attributes:
        path: Its names from the root, joined by ``/``.
        role: One of `ROLES`.
        shape: Of the array.
        dtype: Of the array, or None.
    """

    path: str
    role: str
    shape: tuple[int, ...]
    dtype: Any


def parameters(tree: Tree) -> list[Parameter]:
    """The parameters of a tree, in the order of its leaves, with their paths and roles.

    ``tree`` may be nested dicts, a Flax Linen ``params``, an NNX ``State`` or module, an Equinox module, a dataclass or
    any other pytree. The role comes from the class of the module that holds the parameter where the tree has one, and
    from the names otherwise:

    - ``norm``: a parameter named scale, gamma or weight of a norm (a class or name such as ``BatchNorm``, ``bn1``,
      ``layer_norm``), or named scale or gamma beside a bias, offset or beta or alone;
    - ``norm_bias``: a bias, offset or beta of a norm, or beside a scale or gamma;
    - ``bias``: any other parameter named bias, b, or ending in ``_bias``;
    - ``weight``: everything else.

    Raises:
        TypeError: If the tree holds what is never trained: NNX Variables such as the statistics of a BatchNorm, or a
            Linen collection such as ``batch_stats`` beside ``params``.
    """
    _check_collections(tree)
    found = jax.tree_util.tree_leaves_with_path(tree)
    paths = [_names(tree, path) for path, _ in found]
    siblings: dict[tuple[str, ...], set[str]] = {}
    for names, _ in paths:
        siblings.setdefault(names[:-1], set()).add(names[-1] if names else "")
    return [
        Parameter(
            "/".join(names),
            _role(names, in_norm, siblings[names[:-1]]),
            tuple(getattr(leaf, "shape", ())),
            getattr(leaf, "dtype", None),
        )
        for (names, in_norm), (_, leaf) in zip(paths, found, strict=True)
    ]


def _names(tree: Tree, path: Sequence[Any]) -> tuple[tuple[str, ...], bool | None]:
    """The names along a path, and whether the module at its end is a norm (None where only names can tell)."""
    node, in_norm = tree, None
    names: list[str] = []
    for key in path:
        is_box = is_variable(node)
        if is_box and any(_is_of_flax(type(node), kind) for kind in _NOT_TRAINED):
            raise TypeError(
                f"{'/'.join(names)} is an NNX {type(node).__name__}, not a parameter; pass the parameters only: "
                "nnx.state(model, nnx.Param)"
            )
        if not is_box:
            if not isinstance(node, Mapping | Sequence) and not type(node).__module__.startswith("flax.nnx.statelib"):
                in_norm = _is_norm_class(type(node).__name__)
            names.append(_name(key))
        node = None if is_box else _child(node, key)
    if names and names[-1] == "value" and len(names) > 1 and isinstance(path[-1], jax.tree_util.GetAttrKey):
        names.pop()  # an NNX State flattens through its Variables, which are gone from the tree it came as
    return tuple(names), in_norm


_NOT_TRAINED = ("BatchStat", "Cache", "Intermediate", "Perturbation", "RngState")
"""The Variables of NNX that are not parameters; a user's own kind may be one, and is taken as one."""
_COLLECTIONS = ("batch_stats", "cache", "intermediates", "losses", "perturbations", "spectral_stats")


def _check_collections(tree: Tree) -> None:
    """Linen's variables as a whole: training the running variances would let them decay."""
    if not isinstance(tree, Mapping) or "params" not in tree:
        return
    others = [name for name in tree if name in _COLLECTIONS]
    if others:
        raise TypeError(
            f"the tree holds {', '.join(map(repr, others))} beside 'params': pass variables['params'] alone, "
            "which is what Linen trains"
        )


_STATISTIC = re.compile(
    r"(^|/)(running_(mean|var)|num_batches_tracked|moving_(mean|var|variance)|(mean|var)_ema/(average|hidden|counter))$"
)


def is_statistic(path: str) -> bool:
    """Whether a path has the name that torch, Keras or Haiku give to a running statistic, which is not trained."""
    return _STATISTIC.search(path) is not None


def _is_of_flax(kind: type, name: str) -> bool:
    """Whether a class is, or inherits from, Flax's class of this name; Flax need not be installed."""
    return any(base.__name__ == name and base.__module__.startswith("flax.") for base in kind.__mro__)


def _name(key: Any) -> str:
    for attribute in ("key", "name", "idx"):
        if hasattr(key, attribute):
            return str(getattr(key, attribute))
    return str(key)


def _child(node: Any, key: Any) -> Any:
    try:
        if isinstance(key, jax.tree_util.GetAttrKey):
            return getattr(node, key.name)
        return node[_key(key)]
    except (KeyError, IndexError, TypeError, AttributeError):
        return None  # a node that flattens under other names than it is read by: names alone must tell


def _key(key: Any) -> Any:
    return key.idx if isinstance(key, jax.tree_util.SequenceKey) else key.key


_NORM_NAME = re.compile(r"(^|_|\d)(bn|ln|gn|norm)(\d|_|$)|norm(_?\d+)?$|^norm", re.IGNORECASE)


def _is_norm_class(name: str) -> bool | None:
    """True for BatchNorm, LayerNorm, GroupNorm...; False for another layer; None for what only holds others."""
    if re.search(r"Norm(\d+d|All|Wrapper)?$", name):
        return name not in ("WeightNorm", "SpectralNorm")
    return False if re.search(r"(Linear|Conv|Dense|Embed)", name) else None


def _role(names: tuple[str, ...], in_norm: bool | None, siblings: set[str]) -> str:
    name = names[-1].lower() if names else ""
    beside = {sibling.lower() for sibling in siblings}
    is_bias = name in ("bias", "b", "beta", "offset") or name.endswith("_bias")
    if in_norm is None:
        named_norm = len(names) > 1 and _NORM_NAME.search(names[-2]) is not None
        in_norm = named_norm or bool(beside & {"scale", "gamma"} and not beside & {"kernel", "w", "weight"})
        if name in ("scale", "gamma") and not beside & {"kernel", "w", "weight"}:
            return "norm"
    if in_norm and name in ("scale", "gamma", "weight", "w"):
        return "norm"
    if is_bias:
        return "norm_bias" if in_norm else "bias"
    return "weight"


def roles(tree: Tree) -> Tree:
    """The role of each parameter, as a tree like ``tree``; see `parameters`.

    Examples:
        >>> import jaxsched as js
        >>> js.groups.roles({"conv": {"kernel": 1.0, "bias": 2.0}, "bn": {"scale": 3.0, "bias": 4.0}})
        {'bn': {'bias': 'norm_bias', 'scale': 'norm'}, 'conv': {'bias': 'bias', 'kernel': 'weight'}}
    """
    return jax.tree.unflatten(jax.tree.structure(tree), [parameter.role for parameter in parameters(tree)])
