"""Settings inside a zip archive: the object that ``torch.save`` wrote, and the configuration of a ``.keras`` model.

Nothing in an archive is executed: every class that a pickle names becomes an inert `_Record`.
"""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from typing import IO, Any

MAGIC = b"PK\x03\x04"
"""What a zip archive begins with."""
_END, _LARGEST_DIRECTORY = b"PK\x05\x06", 2**20


def settings_text(archive: IO[bytes], largest: int) -> str:
    """The settings in an archive, as JSON.

    Args:
        archive: A file that begins with `MAGIC`.
        largest: Most bytes that the settings may have.

    Raises:
        ValueError: If it is damaged, is too large, or holds no settings.
    """
    try:
        _check_directory(archive)
        with zipfile.ZipFile(archive) as members:
            names = members.namelist()
            if "config.json" in names:
                return _member(members, "config.json", largest).decode()
            name = next((name for name in names if name.endswith("/data.pkl")), None)
            if name is None:
                raise ValueError("it has neither a data.pkl of torch.save nor a config.json of Keras")
            saved = _Unpickler(io.BytesIO(_member(members, name, largest))).load()
            fields = saved if isinstance(saved, dict) else vars(saved)
            return _as_json({name: fields[name] for name in fields if not str(name).startswith("_")}, largest)
    except Exception as error:  # a damaged archive or pickle raises anything
        raise ValueError(f"it is an archive without readable settings: {error or type(error).__name__}") from None


def _check_directory(archive: IO[bytes]) -> None:
    """That the list of members, which is read as a whole, is small."""
    archive.seek(0, io.SEEK_END)
    archive.seek(max(archive.tell() - 2**16, 0))
    end = archive.read()
    at = end.rfind(_END)
    if at < 0 or int.from_bytes(end[at + 12 : at + 16], "little") > _LARGEST_DIRECTORY:
        raise ValueError("the list of its members is missing or too large")
    archive.seek(0)


def _member(members: zipfile.ZipFile, name: str, largest: int) -> bytes:
    with members.open(name) as stream:
        content = stream.read(largest + 1)
    if len(content) > largest:
        raise ValueError(f"{name} has more than {largest} bytes")
    return content


class _Record:
    """An object of a pickle: the arguments it was made of, and its attributes."""

    def __init__(self, *arguments: Any):
        self._arguments = arguments

    def __setitem__(self, name: Any, value: Any) -> None:
        """An item of a class derived from dict."""

    def append(self, value: Any) -> None:
        """An item of a class derived from list."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return type(name, (_Record,), {"__module__": module})


def _as_json(fields: dict[str, Any], largest: int) -> str:
    """Fields as JSON, piece by piece: a pickle may hold one long string or list many times."""
    pieces: list[str] = []
    for piece in json.JSONEncoder(default=_value, skipkeys=True).iterencode(fields):
        pieces.append(piece)
        largest -= len(piece)
        if largest < 0:
            raise ValueError("its settings are too large")
    return "".join(pieces)


def _value(saved: Any) -> Any:
    """The value of an enum's member; None for what is not a setting, such as a device or a dtype."""
    arguments = list(vars(saved).get("_arguments", ())) if isinstance(saved, _Record) else []
    return arguments[0] if len(arguments) == 1 and isinstance(arguments[0], str) else None
