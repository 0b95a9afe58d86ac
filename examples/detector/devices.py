"""Where arrays live: each batch split over all devices, everything else on every one of them."""

from __future__ import annotations

from typing import Any

import jax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from examples.detector.step import TrainState


class Devices:
    """All devices of all processes, in one row.

    Args:
        spread_optimizer: split the optimizer's arrays over the devices too, where an axis divides.
    """

    def __init__(self, spread_optimizer: bool = False):
        self.mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))
        self.whole = NamedSharding(self.mesh, PartitionSpec())
        self.split = NamedSharding(self.mesh, PartitionSpec("data"))
        self.spread_optimizer = spread_optimizer

    def of_state(self, state: TrainState) -> TrainState:
        """The sharding of each array of the state."""
        everywhere = jax.tree.map(lambda _: self.whole, state)
        return everywhere._replace(opt=jax.tree.map(self.spread, state.opt)) if self.spread_optimizer else everywhere

    def spread(self, x: jax.Array) -> NamedSharding:
        """Split along the longest axis that divides, if there is one."""
        axes = [k for k, n in enumerate(x.shape) if n and n % self.mesh.size == 0]
        if not axes:
            return self.whole
        axis = max(axes, key=lambda k: x.shape[k])
        return NamedSharding(self.mesh, PartitionSpec(*(None,) * axis, "data"))

    def batch(self, batch: Any) -> dict[str, jax.Array]:
        """This process's part of a batch, as its part of the global one."""
        return {name: jax.make_array_from_process_local_data(self.split, value) for name, value in batch.items()}
