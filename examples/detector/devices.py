"""Where arrays live: each batch is split over all devices, everything else is on every one of them."""

from __future__ import annotations

from typing import Any

import jax
from jax.sharding import AxisType, NamedSharding, PartitionSpec


class Devices:
    """All devices of all processes, in one row."""

    def __init__(self) -> None:
        self.mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))
        self.whole = NamedSharding(self.mesh, PartitionSpec())
        self.split = NamedSharding(self.mesh, PartitionSpec("data"))

    def batch(self, batch: Any) -> dict[str, jax.Array]:
        """This process's part of a batch, as its part of the global one."""
        return {name: jax.make_array_from_process_local_data(self.split, value) for name, value in batch.items()}
