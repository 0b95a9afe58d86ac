"""Where arrays live: each batch is split over all devices, everything else is on every one of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import AxisType, NamedSharding, PartitionSpec


def use_cores(batch_size: int) -> None:
    """On a CPU, make each core a device, as far as a batch divides over them, with 4 images or more for each.

    XLA divides many operations among the cores badly or not at all; a device for each core keeps all of them busy. With
    fewer images for each, what the devices exchange costs too much: on two cores, a step of 16 images takes 19 % longer
    on eight devices than on two at 640 pixels, and 78 % at 128.

    It must be called before anything is computed. A number of devices that is set already (JAX_NUM_CPU_DEVICES, or
    --xla_force_host_platform_device_count in XLA_FLAGS) is kept.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    most = min(cores, max(batch_size // 4, 1))
    in_flags = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if jax.config.jax_num_cpu_devices == -1 and not in_flags:
        jax.config.update("jax_num_cpu_devices", max(n for n in range(1, most + 1) if batch_size % n == 0))


class Devices:
    """All devices of all processes, in one row."""

    def __init__(self) -> None:
        self.mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))
        self.whole = NamedSharding(self.mesh, PartitionSpec())
        self.split = NamedSharding(self.mesh, PartitionSpec("data"))

    def compile(self, step: Callable[..., Any]) -> Any:
        """`step`, compiled for these devices. It overwrites its first argument, the state."""

        def on_these(*arguments: Any) -> Any:
            with jax.sharding.use_abstract_mesh(self.mesh.abstract_mesh):  # `fused.py` reads it
                return step(*arguments)

        return jax.jit(on_these, donate_argnums=0, out_shardings=self.whole)

    def batch(self, batch: Any) -> dict[str, jax.Array]:
        """This process's part of a batch, as its part of the global one."""
        return {name: jax.make_array_from_process_local_data(self.split, value) for name, value in batch.items()}
