"""Weights as files: which network they are for, and its arrays by path.

A run's folder, an ``.npz`` that `save` wrote, and a ``.pt`` of YOLOv5 are all read by `load`. In each the description
says all that is needed to use the arrays: class names, depth, width, anchors and image size.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from examples.detector.model import ANCHORS, Anchors, YOLOv5

ENTRY, PREFIX = "description", "weights/"  # names in an .npz
# What reading a damaged file raises.
DAMAGE = (OSError, ValueError, EOFError, MemoryError, RuntimeError, zipfile.BadZipFile, zlib.error, struct.error)


@dataclasses.dataclass(frozen=True)
class Description:
    """What a detector is.

    Attributes:
        names: Class names; class ``c`` is ``names[c]``.
        depth, width: Multiples of the network, as in `model.SIZES`.
        image_size: Width and height of the images it was trained on, in pixels.
        anchors: (width, height) in pixels of three anchors for each stride.
    """

    names: tuple[str, ...]
    depth: float
    width: float
    image_size: int
    anchors: Anchors = ANCHORS

    def build(self, rngs: nnx.Rngs) -> YOLOv5:
        """The network, newly initialised."""
        return YOLOv5(len(self.names), self.depth, self.width, self.anchors, rngs=rngs)

    def abstract(self) -> YOLOv5:
        """The network with shapes in place of arrays."""
        return nnx.eval_shape(lambda: self.build(nnx.Rngs(0)))

    def to_json(self) -> dict[str, Any]:
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Description:
        try:
            anchors = tuple(tuple((float(w), float(h)) for w, h in level) for level in content["anchors"])
            names = tuple(str(name) for name in content["names"])
            return cls(names, float(content["depth"]), float(content["width"]), int(content["image_size"]), anchors)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"the description of the network is damaged ({error})") from None


@dataclasses.dataclass(frozen=True)
class Weights:
    """A network's description and arrays.

    Attributes:
        description: Which network the arrays are for.
        arrays: Parameters and running statistics by path.
        notes: What went wrong in finding them, in words.
    """

    description: Description
    arrays: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    def model(self) -> YOLOv5:
        """The network with these weights."""
        model = self.description.abstract()
        load_arrays(model, self.arrays)
        return model


def flat_state(model: nnx.Module) -> dict[str, jax.Array]:
    """Every array of the model, parameters and running statistics, by its path."""
    return {"/".join(map(str, path)): leaf.get_value() for path, leaf in nnx.to_flat_state(nnx.state(model))}


def load_arrays(model: nnx.Module, arrays: Mapping[str, np.ndarray]) -> None:
    """Set every array of `model` to the one of the same path in `arrays`; paths and shapes must agree."""
    state = nnx.state(model)
    variables = {"/".join(map(str, path)): leaf for path, leaf in nnx.to_flat_state(state)}
    missing, unknown = sorted(set(variables) - set(arrays)), sorted(set(arrays) - set(variables))
    if missing or unknown:
        raise ValueError(
            f"these weights are of another network: {len(missing)} arrays are missing (first: {missing[:3]}), "
            f"{len(unknown)} are unknown (first: {unknown[:3]}). Choose the --size they were trained with."
        )
    for path, variable in variables.items():
        if variable.shape != np.shape(arrays[path]):
            raise ValueError(
                f"{path} has shape {np.shape(arrays[path])} in the weights and {variable.shape} in the model. "
                "Choose the --size and the number of classes that the weights were trained with."
            )
        variable.set_value(jnp.asarray(arrays[path], variable.dtype))
    nnx.update(model, state)


def save(path: Path, weights: Weights, **more: Any) -> None:
    """Write an ``.npz``, whole or not at all; `more` are further entries. A zip keeps a checksum of each entry."""
    entries = {f"{PREFIX}{name}": value for name, value in weights.arrays.items()}
    working = path.with_name(f".{path.name}.writing")
    try:
        with working.open("wb") as file:
            np.savez(file, **{ENTRY: json.dumps(weights.description.to_json())}, **entries, **more)  # type: ignore
            file.flush()
            os.fsync(file.fileno())
        working.replace(path)
    except BaseException:
        working.unlink(missing_ok=True)
        raise


def load(path: str | Path) -> Weights:
    """Read a run's folder, an ``.npz`` or a ``.pt``.

    Raises:
        ValueError: If there is nothing to read, if it is damaged or of another kind, or if it holds numbers that are
            not finite.
    """
    found = read(Path(path))
    wrong = [name for name, value in found.arrays.items() if not np.isfinite(value).all()]
    if wrong:
        raise ValueError(
            f"--weights {path}: {len(wrong)} arrays hold numbers that are not finite, first {wrong[0]}. They are of a "
            "run that diverged; choose others."
        )
    return found


def read(path: Path) -> Weights:
    """What `load` reads, not checked."""
    if path.is_dir():
        from examples.detector.checkpoint import Checkpoints

        return Checkpoints(path / "checkpoints", read_only=True).weights()
    if not path.is_file():
        raise ValueError(f"--weights {path}: there is no such file or folder.")
    if path.suffix in (".pt", ".pth"):
        from examples.detector.from_torch import load_pt

        return load_pt(path)
    if path.suffix != ".npz":
        raise ValueError(f"--weights {path} must be a run's folder, an .npz or a .pt.")
    return read_npz(path)


@contextlib.contextmanager
def opened(path: Path, checked: bool = True) -> Iterator[Any]:
    """The entries of an ``.npz``; `checked` reads all of it first, to compare the checksums.

    Raises:
        Exception: One of `DAMAGE`.
    """
    if not zipfile.is_zipfile(path):
        raise ValueError("no .npz: cut short, or of another kind")
    if checked:
        with zipfile.ZipFile(path) as archive:
            if wrong := archive.testzip():
                raise ValueError(f"the checksum of {wrong} is wrong")
    with np.load(path, allow_pickle=False) as file:
        yield file


def read_npz(path: Path) -> Weights:
    """Read an ``.npz`` that `save` wrote."""
    try:
        with opened(path) as file:
            description = Description.from_json(json.loads(str(file[ENTRY])))
            arrays = {name.removeprefix(PREFIX): file[name] for name in file.files if name.startswith(PREFIX)}
    except KeyError:
        raise ValueError(f"{path} has no description of its network; it was not written by this program.") from None
    except DAMAGE as error:
        raise ValueError(f"{path} is damaged ({error}). Copy it again.") from None
    return Weights(description, arrays)
