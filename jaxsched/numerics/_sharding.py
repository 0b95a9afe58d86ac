"""Arrays whose axes are sharded explicitly, for what needs all of them in one place."""

from __future__ import annotations

import jax


def replicate(x: jax.Array) -> jax.Array:
    """Gathered, where its axes are sharded explicitly."""
    return jax.sharding.reshard(x, jax.sharding.PartitionSpec()) if any(jax.typeof(x).sharding.spec) else x


def reshard_like(x: jax.Array, like: jax.Array) -> jax.Array:
    """Sharded as ``like`` is."""
    sharding = jax.typeof(like).sharding
    return jax.sharding.reshard(x, sharding) if any(sharding.spec) else x
