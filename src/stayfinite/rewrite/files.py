"""The text of the user's files, as it was when they were loaded."""

from __future__ import annotations

import linecache
import os
import sys
from collections.abc import Iterator, Mapping

from stayfinite.rewrite.project import is_user_file


class UserFiles(Mapping[str, str]):
    """File as in `records.location.Location` -> its text. Only files of the user's own that this process has loaded.

    A file that was saved meanwhile is read as it was when it was loaded, where that is still known: edits are made to what ran.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._texts: dict[str, str] = {}

    def path(self, file: str) -> str:
        """The absolute path of `file`."""
        return os.path.realpath(os.path.join(self._folder, file))

    def __getitem__(self, file: str) -> str:
        if file not in self._texts:
            path = self.path(file)
            if not is_user_file(path):
                raise KeyError(file)
            known = linecache.cache.get(path)
            if known is not None and len(known) == 4 and known[2]:
                self._texts[file] = "".join(known[2])
            else:
                try:
                    with open(path, encoding="utf-8", newline="") as text:
                        self._texts[file] = text.read()
                except (OSError, UnicodeDecodeError) as error:
                    raise KeyError(file) from error
        return self._texts[file]

    def __iter__(self) -> Iterator[str]:
        for module in list(sys.modules.values()):
            path = getattr(module, "__file__", None)
            # some modules are made, not read, and say that they come from a file which never was (`torch.ops`: `_ops.py`)
            if isinstance(path, str) and os.path.isabs(path) and path.endswith(".py") and is_user_file(path):
                whole = os.path.realpath(path)
                inside = self._folder and whole.startswith(self._folder.rstrip(os.sep) + os.sep)
                yield os.path.relpath(whole, self._folder) if inside else whole

    def __len__(self) -> int:
        return sum(1 for _ in self)
