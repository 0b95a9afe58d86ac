"""Protobuf's text format, read without a schema, so that fields of forks and newer releases do not matter."""

from __future__ import annotations

from typing import Any

from jaxsched.checks import extra, one_line
from jaxsched.ports.shared import File

_DEEPEST = 100
"""Most levels of messages; protobuf's own limit."""


def parse(file: File) -> dict[str, Any]:
    """The fields of a message: numbers, strings (names of enums too), truth values, and dicts for messages.

    A field that is there several times is a list of its values.

    Raises:
        ImportError: If protobuf is not installed.
        ValueError: If the file is not in the text format; the error names the line.
    """
    text_format = extra("google.protobuf.text_format", "protobuf")
    try:
        tokens = text_format.Tokenizer(file.text.lstrip("\ufeff").split("\n"))
        return _fields(tokens, "", 0)
    except text_format.ParseError as error:
        line = f":{error.GetLine()}" if error.GetLine() else ""
        said = str(error).rpartition("': ")[2]  # after the content of the line, which may be long
        raise ValueError(f"{file.name}{line}: not in protobuf's text format: {one_line(said, 200)}") from None


def _fields(tokens: Any, end: str, depth: int) -> dict[str, Any]:
    """The fields up to ``end``."""
    if depth > _DEEPEST:
        raise tokens.ParseError("it is nested too deeply")
    found: dict[str, list[Any]] = {}
    while not (tokens.AtEnd() if not end else tokens.TryConsume(end)):
        if tokens.AtEnd():
            raise tokens.ParseError(f"a message is not closed with {end}")
        name = tokens.ConsumeIdentifier()
        tokens.TryConsume(":")
        found.setdefault(name, []).extend(_values(tokens, depth))
        tokens.TryConsume(",") or tokens.TryConsume(";")
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def _values(tokens: Any, depth: int) -> list[Any]:
    if not tokens.TryConsume("["):
        return [_value(tokens, depth)]
    found: list[Any] = []
    while not tokens.TryConsume("]"):
        found.append(_value(tokens, depth))
        if not tokens.LookingAt("]"):
            tokens.Consume(",")
    return found


def _value(tokens: Any, depth: int) -> Any:
    for begin, end in ("{}", "<>"):
        if tokens.TryConsume(begin):
            return _fields(tokens, end, depth + 1)
    token = tokens.token
    if token[:1] in ("'", '"'):
        return tokens.ConsumeString()
    if token[:1].isalpha() or token[:1] == "_":
        tokens.NextToken()
        return {"true": True, "True": True, "false": False, "False": False}.get(token, token)
    whole = token.lower().startswith("0x") or not set(token) & set(".eEfF")
    return tokens.ConsumeInteger() if whole else tokens.ConsumeFloat()
