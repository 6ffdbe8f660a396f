"""The few signs a report draws with, for terminals that have them and for those that know ASCII only."""

from __future__ import annotations

from typing import TextIO

import msgspec


class Signs(msgspec.Struct, frozen=True):
    """`spark` goes from lowest to highest; `bad` stands for a non-finite reading."""

    check: str
    cross: str
    notice: str
    bar: str
    rule: str
    pointer: str
    arrow: str
    dots: str
    bullet: str
    spark: str
    bad: str


UNICODE = Signs(
    check="✓", cross="✗", notice="!", bar="│", rule="─", pointer="❱", arrow="→", dots="…", bullet="·", spark="▁▂▃▄▅▆▇█", bad="×",
)
ASCII = Signs(
    check="+", cross="x", notice="!", bar="|", rule="-", pointer=">", arrow="->", dots="...", bullet="-", spark="_.-=+*#", bad="!",
)


def signs_for(out: TextIO) -> Signs:
    """The signs that the encoding of `out` can carry."""
    try:
        "".join(str(getattr(UNICODE, name)) for name in UNICODE.__struct_fields__).encode(
            getattr(out, "encoding", None) or "utf-8"
        )
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return UNICODE
