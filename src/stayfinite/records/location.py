"""Where something is in the user's source."""

from __future__ import annotations

import msgspec


class Location(msgspec.Struct, frozen=True, omit_defaults=False):
    """A place in source text: the innermost frame of the user's own code.

    **Fields**

    - `file`: relative to the script's folder where it lies inside it, else absolute.
    - `line`, `end_line`: 1-based. `column`, `end_column`: 0-based, in UTF-8 bytes as CPython counts them; -1 if unknown.
    - `function`: the qualified name of the enclosing function, ``"<module>"`` at module level.
    - `code`: the text of `line`, without indentation. `expression`: the text between the columns, where known.
    - `library`: the library frame inside it that ran the operation, as ``"package/file.py:line in function"``.
    """

    file: str
    line: int
    column: int = -1
    end_line: int = -1
    end_column: int = -1
    function: str = ""
    code: str = ""
    expression: str = ""
    library: str | None = None


UNKNOWN_LOCATION = Location(file="", line=0)
