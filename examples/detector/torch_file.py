"""A ``.pt`` file read without torch and without running it.

Such a file is a zip with a pickle and the raw bytes of each tensor. The pickle is read by an unpickler that rebuilds
tensors as numpy arrays and replaces every other class by an inert `Record`, so that no code of the file runs.
"""

from __future__ import annotations

import collections
import io
import math
import pickle
import zipfile
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

DTYPES = {
    "DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
    "ByteStorage": "uint8", "BoolStorage": "bool",
}  # fmt: skip


class Record:
    """An object of the file: its class by name, and the state it was saved with."""

    state: Any = MappingProxyType({})

    def __init__(self, *_: Any, **__: Any):
        """What the class was called with is of no use here."""

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        """An item of a class derived from dict."""

    def append(self, value: Any) -> None:
        """An item of a class derived from list."""

    def extend(self, values: Any) -> None:
        """Items of a class derived from list."""


def rebuild_tensor(storage: np.ndarray, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Any:
    last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    inside = 0 in size or (last < len(storage) and math.prod(size) <= len(storage))
    if offset < 0 or min((*size, *stride, 0)) < 0 or not inside:
        raise ValueError("a tensor lies outside its storage")
    steps = tuple(s * storage.itemsize for s in stride)
    return np.lib.stride_tricks.as_strided(storage[offset:], size, steps).copy()


def rebuild_parameter(data: Any, *_: Any) -> Any:
    return data


KNOWN = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): rebuild_parameter,
}


class Unpickler(pickle.Unpickler):
    """Rebuilds tensors; every other object becomes a `Record`."""

    def __init__(self, archive: zipfile.ZipFile, name: str):
        super().__init__(io.BytesIO(archive.read(name)))
        self.archive, self.folder = archive, name.rpartition("/")[0]

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in DTYPES:
            return name
        return KNOWN.get((module, name)) or type(name.rpartition(".")[2], (Record,), {"__module__": module})

    def persistent_load(self, pid: Any) -> np.ndarray:
        _, kind, key, _, count = pid
        content = self.archive.read(f"{self.folder}/data/{key}")
        if kind == "BFloat16Storage":  # the upper half of a float32
            values = (np.frombuffer(content, "<u2").astype(np.uint32) << 16).view(np.float32)
        else:
            values = np.frombuffer(content, np.dtype(DTYPES[kind]).newbyteorder("<"))
        if len(values) < count:
            raise ValueError("a tensor is shorter than the file says")
        return values


def read(path: Path) -> Any:
    """The content of a ``.pt``: tensors as arrays, modules and other objects as `Record`.

    Raises:
        ValueError: If the file is damaged, or not a zip file of torch (as before torch 1.6).
    """
    try:
        with zipfile.ZipFile(path) as archive:
            name = next(n for n in archive.namelist() if n.endswith("/data.pkl"))
            return Unpickler(archive, name).load()
    except Exception as error:  # a damaged pickle raises anything
        reason = str(error) or "no data.pkl in it"
        raise ValueError(
            f"{path} cannot be read as a .pt ({reason}). Copy it again, or save its state_dict() with torch >= 1.6."
        ) from None


def state_dict(module: Record, prefix: str = "") -> dict[str, np.ndarray]:
    """The tensors of a saved module, by the names that its ``state_dict`` has."""
    found = {}
    for kind in ("_parameters", "_buffers"):
        for name, value in (module.state.get(kind) or {}).items():
            if isinstance(value, np.ndarray):
                found[prefix + name] = value
    for name, child in (module.state.get("_modules") or {}).items():
        if isinstance(child, Record):
            found |= state_dict(child, f"{prefix}{name}.")
    return found
