"""Trees that stand for the parameters with the arrays of a group joined: what they say of themselves."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax


class Grouped(NamedTuple):
    """The leaves of a tree, in order.

    Attributes:
        paths: Of each leaf.
        groups: The name of the group of each leaf.
    """

    paths: list[str]
    groups: list[str]


class JoinedTree(abc.ABC):
    """A tree in place of one like the parameters, whose arrays each hold several parameters of one group.

    An optimizer finds its groups by `grouped`, and whatever reads or carries a state sees through it by `separate` and
    `join`. So nothing but the transformation that makes such a tree knows how it is laid out.
    """

    @abc.abstractmethod
    def grouped(self, known: Sequence[str], needed: Sequence[str]) -> Grouped:
        """For each array its group, and the path of its first parameter.

        Raises:
            ValueError: If a group is not among those ``known``, or one of those ``needed`` is missing.
        """

    @abc.abstractmethod
    def separate(self) -> Any:
        """The tree like the parameters that it stands for."""

    @abc.abstractmethod
    def join(self, tree: Any) -> JoinedTree:
        """A tree like the parameters in this form."""


def separated(tree: Any) -> Any:
    """The tree with each `JoinedTree` in it as the tree that it stands for."""
    return jax.tree.map(lambda node: node.separate() if _is_joined(node) else node, tree, is_leaf=_is_joined)


def joined_like(like: Any, tree: Any) -> Any:
    """The tree in the form of ``like``: joined where that is."""
    return like.join(tree) if isinstance(like, JoinedTree) and not isinstance(tree, JoinedTree) else tree


def _is_joined(node: Any) -> bool:
    return isinstance(node, JoinedTree)
