"""Arrays with explicitly sharded axes, for operations that need the whole array on each device."""

from __future__ import annotations

import jax


def replicate(x: jax.Array) -> jax.Array:
    """``x`` gathered on every device, where its axes are sharded explicitly."""
    sharding = jax.typeof(x).sharding  # its mesh is named, so that no jax.set_mesh is needed
    if not any(sharding.spec):
        return x
    return jax.sharding.reshard(x, jax.sharding.NamedSharding(sharding.mesh, jax.sharding.PartitionSpec()))


def reshard_like(x: jax.Array, like: jax.Array) -> jax.Array:
    """``x`` sharded as ``like`` is, where that is sharded explicitly."""
    sharding = jax.typeof(like).sharding
    return jax.sharding.reshard(x, sharding) if any(sharding.spec) else x
