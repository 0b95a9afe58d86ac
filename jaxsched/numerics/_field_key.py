"""The key of a named child of a pytree node."""

from __future__ import annotations

from jax.tree_util import GetAttrKey


class FieldKey(GetAttrKey):
    """As jax's own, with the attribute ``key`` too, which jax's report of two trees that differ asks for."""

    @property
    def key(self) -> str:
        return self.name
