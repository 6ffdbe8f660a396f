"""Records as JSON that every reader accepts.

`encode` never writes NaN or infinity as a JSON number, never fails on a lone surrogate (file names may carry them) and
takes numbers of foreign types (NumPy scalars) by their plain value.
"""

from __future__ import annotations

from typing import Any

import msgspec

from stayfinite.records.numbers import to_number


def encode(record: Any) -> bytes:
    """`record` as one line of UTF-8 JSON, without the newline.

    **Raises**: `TypeError` for a value that has no plain form.
    """
    return msgspec.json.encode(to_plain(record))


def to_plain(record: Any) -> Any:
    """`record` as dictionaries, lists, text and finite numbers; a non-finite number is its word, see `numbers`."""
    return _safe(msgspec.to_builtins(record, enc_hook=_foreign))


def _foreign(value: Any) -> Any:
    item = getattr(value, "item", None)
    if item is None:
        raise TypeError(f"a record holds a {type(value).__name__}, which has no plain form")
    return item()


def _safe(value: Any) -> Any:
    kind = type(value)
    if kind is float:
        return to_number(value)
    if kind is str:
        return text(value)
    if kind is dict:
        return {_safe(key): _safe(item) for key, item in value.items()}
    if kind is list or kind is tuple:
        return [_safe(item) for item in value]
    return value


def text(value: str) -> str:
    """`value` as text that UTF-8 can carry: lone surrogates become their escape sequence."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-8", "backslashreplace").decode()
    return value
