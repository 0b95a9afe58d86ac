"""Weights of YOLOv5 in torch's names and layout, for the network in `model.py`.

    python -m examples.detector.from_torch weights.npz weights-flax.npz

reads an ``.npz`` whose keys are torch ``state_dict`` names (``numpy.savez(file, **{k: v.float().numpy() for k, v in
model.state_dict().items()})`` writes one) and writes one that `train.py --weights` reads.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

NECK = {
    "10": "lateral5",
    "13": "up4",
    "14": "lateral4",
    "17": "up3",
    "18": "down3",
    "20": "out4",
    "21": "down4",
    "23": "out5",
}
LEAF = {
    ("conv", "weight"): ("conv", "kernel"),
    ("bn", "weight"): ("bn", "scale"),
    ("bn", "bias"): ("bn", "bias"),
    ("bn", "running_mean"): ("bn", "mean"),
    ("bn", "running_var"): ("bn", "var"),
}
UNUSED = ("num_batches_tracked", "anchors")  # a counter nothing reads, and a constant that model.py holds


def flax_path(name: str) -> str:
    """The path in the Flax network of a name in torch's ``state_dict``.

    >>> flax_path("model.4.m.1.cv2.conv.weight"), flax_path("model.23.cv3.bn.weight"), flax_path("model.24.m.0.bias")
    ('backbone/4/m/1/cv2/conv/kernel', 'neck/out5/cv3/bn/scale', 'head/levels/0/bias')
    """
    try:
        _, layer, *modules, kind, leaf = name.split(".")
        if layer == "24":
            return "/".join(["head", "levels", kind, {"weight": "kernel", "bias": "bias"}[leaf]])
        place = ["neck", NECK[layer]] if layer in NECK else ["backbone", str(int(layer))]
        return "/".join([*place, *modules, *LEAF[kind, leaf]])
    except (KeyError, ValueError):
        raise ValueError(
            f"{name!r} is not in a YOLOv5 v6 state_dict, whose names read like 'model.4.cv1.conv.weight'."
        ) from None


def flax_array(value: np.ndarray) -> np.ndarray:
    """torch's [out, in, kh, kw] as [kh, kw, in, out]; anything else as it is."""
    return value.transpose(2, 3, 1, 0) if value.ndim == 4 else value


def torch_array(value: np.ndarray) -> np.ndarray:
    """The inverse of `flax_array`."""
    return value.transpose(3, 2, 0, 1) if value.ndim == 4 else value


def flat_state(model: nnx.Module) -> dict[str, jax.Array]:
    """Every array of the model, parameters and running statistics, by its path."""
    return {"/".join(map(str, path)): leaf[...] for path, leaf in nnx.to_flat_state(nnx.state(model))}


def load_arrays(model: nnx.Module, arrays: Mapping[str, np.ndarray]) -> None:
    """Put `arrays`, by Flax path, into `model`; every path and shape must be there."""
    state = nnx.state(model)
    variables = {"/".join(map(str, path)): leaf for path, leaf in nnx.to_flat_state(state)}
    missing, unknown = sorted(set(variables) - set(arrays)), sorted(set(arrays) - set(variables))
    if missing or unknown:
        raise ValueError(
            f"these weights are of another network: {len(missing)} arrays are missing (first: {missing[:3]}), "
            f"{len(unknown)} are unknown (first: {unknown[:3]}). Choose the size they were trained with."
        )
    for path, variable in variables.items():
        if variable.shape != np.shape(arrays[path]):
            raise ValueError(
                f"{path} has shape {np.shape(arrays[path])} in the weights and {variable.shape} in the model. "
                "Choose the size and the number of classes that the weights were trained with."
            )
        variable[...] = jnp.asarray(arrays[path], variable.dtype)
    nnx.update(model, state)


def load_torch(model: nnx.Module, state_dict: Mapping[str, np.ndarray]) -> None:
    """Put a torch ``state_dict`` (as numpy arrays) into `model`."""
    kept = {name: np.asarray(value) for name, value in state_dict.items() if not name.endswith(UNUSED)}
    load_arrays(model, {flax_path(name): flax_array(value) for name, value in kept.items()})


def main() -> None:
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    with np.load(sys.argv[1], allow_pickle=False) as torch_weights:
        arrays = {flax_path(k): flax_array(v) for k, v in torch_weights.items() if not k.endswith(UNUSED)}
    np.savez(sys.argv[2], **arrays)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
