"""TensorBoard's event files: the scalars in them, read without tensorboard or protobuf.

A file is a sequence of records (an 8-byte length and its checksum, the content and its checksum), and each record one
Event in the protobuf encoding. Of an Event only its step and its scalars are decoded: a simple value, as most write,
or a tensor of one float, as TensorFlow 2 writes. Nothing in the file is executed.
"""

from __future__ import annotations

import functools
import math
import os
import struct
from collections.abc import Iterator
from typing import Any, BinaryIO

from jaxsched.checks import one_line

LARGEST_RECORD = 2**16
"""Bytes of a record that may hold scalars; larger ones (images, graphs, histograms) are passed over unread."""
MOST_RECORDS = 2_000_000
"""Records that are looked at."""
_NAMES = b"lr", b"learning_rate", b"epoch", b"momentum", b"weight_decay", b"wd"
"""What the names of the scalars that are read have in them."""
_CRC_POLYNOMIAL, _CRC_DELTA = 0x82F63B78, 0xA282EAD8
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
"""Wire types of protobuf."""
_DT_FLOAT, _DT_DOUBLE = 1, 2
"""Types of tensors that are read."""


def is_events(start: bytes) -> bool:
    """Whether a file begins as an event file does: with a length and its checksum."""
    return len(start) >= 12 and _checks(start[:8], start[8:12])


def scalars(stream: BinaryIO, name: str) -> tuple[list[dict[str, Any]], list[str]]:
    """The scalars of an event file, one row for each step, and what was passed over.

    A scalar whose name ends in ``epoch`` is the row's epoch.

    Args:
        stream: The file, at its start.
        name: What it is called in errors.

    Raises:
        ValueError: If it is not an event file.
    """
    rows: dict[int, dict[str, Any]] = {}
    said: list[str] = []
    count = 0
    for content in _records(stream, name, said):
        try:
            step, values = _event(content)
        except (IndexError, UnicodeDecodeError, struct.error, ValueError):
            said.append(f"record {count} is damaged and passed over") if len(said) < 3 else None
            continue
        count += 1
        for tag, value in values:
            if math.isfinite(value):
                row = rows.setdefault(step, {"step": step})
                clock = tag.rpartition("/")[2] == "epoch"
                row["epoch" if clock else one_line(tag, 100)] = f"{value:.7g}" if clock else repr(value)
    return [rows[step] for step in sorted(rows)], said


def _records(stream: BinaryIO, name: str, said: list[str]) -> Iterator[bytes]:
    """The contents of the records that may hold scalars."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    for number in range(MOST_RECORDS):
        head = stream.read(12)
        if not head:
            return
        if len(head) < 12 or not _checks(head[:8], head[8:]):
            if number == 0:
                raise ValueError(f"{name} is not an event file of TensorBoard")
            said.append(f"the file is damaged or cut off after {number:,} records")
            return
        (length,) = struct.unpack("<Q", head[:8])
        if length > size - stream.tell():
            said.append(f"the file is cut off after {number:,} records")
            return
        if length > LARGEST_RECORD:
            stream.seek(length + 4, os.SEEK_CUR)
            continue
        content, check = stream.read(length), stream.read(4)
        if len(check) < 4:
            said.append(f"the file is cut off after {number:,} records")
            return
        if any(name in content for name in _NAMES):
            if not _checks(content, check):
                said.append(f"record {number:,} is damaged and passed over")
                continue
            yield content
    said.append(f"only the first {MOST_RECORDS:,} records are read")


def _event(content: bytes) -> tuple[int, list[tuple[str, float]]]:
    step, found = 0, []
    for field, wire, value in _fields(content):
        if field == 2 and wire == _VARINT:
            step = value
        elif field == 5 and wire == _BYTES:
            found += [_scalar(item) for number, kind, item in _fields(value) if number == 1 and kind == _BYTES]
    return step, [scalar for scalar in found if scalar is not None]


def _scalar(content: bytes) -> tuple[str, float] | None:
    """The name and the value of a Summary.Value, if it is a scalar."""
    tag, number = "", None
    for field, wire, value in _fields(content):
        if field == 1 and wire == _BYTES:
            tag = value.decode()
        elif field == 2 and wire == _FIXED32:
            (number,) = struct.unpack("<f", value)
        elif field == 8 and wire == _BYTES:
            number = _tensor(value)
    return None if number is None else (tag, number)


def _tensor(content: bytes) -> float | None:
    """The value of a tensor that holds one float."""
    kind, raw = _DT_FLOAT, b""
    for field, wire, value in _fields(content):
        if field == 1 and wire == _VARINT:
            kind = value
        elif field in (4, 5, 6) and wire in (_BYTES, _FIXED32, _FIXED64):  # tensor_content, float_val, double_val
            raw = value
    layout = {_DT_FLOAT: "<f", _DT_DOUBLE: "<d"}.get(kind)
    if layout is None or len(raw) != struct.calcsize(layout):
        return None
    number: float = struct.unpack(layout, raw)[0]
    return number


def _fields(content: bytes) -> Iterator[tuple[int, int, Any]]:
    """The fields of a message: number, wire type, and an integer or bytes."""
    at = 0
    while at < len(content):
        key, at = _varint(content, at)
        wire = key & 7
        if wire == _VARINT:
            value, at = _varint(content, at)
            yield key >> 3, wire, value
            continue
        if wire not in (_FIXED64, _BYTES, _FIXED32):
            raise ValueError("a wire type that no event has")
        length = {_FIXED64: 8, _FIXED32: 4}.get(wire)
        if length is None:
            length, at = _varint(content, at)
        if at + length > len(content):
            raise IndexError
        yield key >> 3, wire, content[at : at + length]
        at += length


def _varint(content: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = content[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("a number of more than ten bytes")


def _checks(content: bytes, check: bytes) -> bool:
    crc, table = 0xFFFFFFFF, _crc_table()
    for byte in content:
        crc = table[(crc ^ byte) & 255] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    masked = (((crc >> 15) | (crc << 17)) + _CRC_DELTA) & 0xFFFFFFFF
    return struct.pack("<I", masked) == check


@functools.cache
def _crc_table() -> list[int]:
    """The table of CRC-32C."""
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ _CRC_POLYNOMIAL if crc & 1 else crc >> 1
        table.append(crc)
    return table
