"""Whatever a trial writes lies in a folder of its own, where it finds it again; the user's files are only read.

    scratch = Scratch(folder)
    scratch.take_over()     # this process writes nothing elsewhere from now on

Opening, listing, renaming and removing are turned to copies below `folder`: a checkpoint that the script saves and loads again
is the one of this trial, and that of the real run stays as it is. What goes past Python's own functions is turned where it is
known, refused by an audit hook where it can be heard, and by the system (`confinement`) in any case where that can do it.
Connections are refused as on a machine without a network, other programs altogether, except a library's own (a compiler).
"""

from __future__ import annotations

import builtins
import errno
import functools
import io
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from types import FrameType
from typing import Any

from stayfinite.rewrite.confinement import confine
from stayfinite.rewrite.project import is_user_file

_WRITING = frozenset("wax+")
_DEVICES = ("/dev/", "/proc/")
_CHANGING = frozenset("os.remove os.rename os.mkdir os.rmdir os.truncate os.link os.symlink os.chmod os.chown os.utime".split())
"""Their audit events end with the descriptor of a folder, -1 for none, wherever they can be asked for one."""
PAST_PYTHON: dict[str, tuple[tuple[str, int, str], ...]] = {
    "torch": (("save", 1, "f"),),
    "torch.jit": (("save", 1, "f"), ("ScriptModule.save", 1, "f")),
    "safetensors.torch": (("save_file", 1, "filename"), ("save_model", 1, "filename")),
    "safetensors.numpy": (("save_file", 1, "filename"),),
    "h5py": (("File.__init__", 1, "name"),),
}
"""Module -> its functions that write by compiled code, which nothing hears: name, and where the path stands."""


class Scratch:
    """See the module. `folder`: absolute, there and empty; `refused` is told, in words, what the script wanted to do."""

    def __init__(self, folder: str, refused: Callable[[str], None]) -> None:
        self._temporary = os.path.join(folder, "tmp")
        self._copies = os.path.join(folder, "files")
        self._folder = folder
        self._gone: set[str] = set()
        """Files and folders of the user's that this trial has removed; for good, what it makes there anew is a copy."""
        self._refused = refused
        self.confined = False
        """The system itself keeps this process from writing elsewhere."""
        user = os.path.join(tempfile.gettempdir(), f"torchinductor_{os.environ.get('USER') or os.getuid()}")
        self._built = os.environ.get("TORCHINDUCTOR_CACHE_DIR") or user

    def take_over(self) -> None:
        """Turn this process, and those it forks, to the scratch folder. There is no way back."""
        sys.dont_write_bytecode = True
        os.makedirs(self._temporary)
        os.makedirs(self._copies)
        if os.path.isdir(self._built):  # what was compiled before is not compiled again
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = self._built
        os.environ["TMPDIR"] = tempfile.tempdir = self._temporary
        builtins.open = io.open = functools.wraps(io.open)(functools.partial(_opened, self, io.open))
        low = os.open
        os.open = functools.wraps(low)(functools.partial(_opened_low, self, low))
        self._read("stat", "lstat", "access", "chdir")
        self._list()
        self._change("chmod", "utime", "truncate")
        self._make()
        self.confined = confine((self._folder, self._built, *_DEVICES))
        sys.addaudithook(self._hear)

    def turn(self, module: str) -> None:
        """`module` has been imported: what it writes past Python is turned to the scratch folder too."""
        for name, position, keyword in PAST_PYTHON[module]:
            owner: Any = sys.modules[module]
            *outer, last = name.split(".")
            for part in outer:
                owner = getattr(owner, part, None)
            original = getattr(owner, last, None)
            if original is not None:
                setattr(owner, last, self._turned(original, position, keyword))

    def _turned(self, original: Any, position: int, keyword: str) -> Any:
        @functools.wraps(original)
        def turned(*args: Any, **kwargs: Any) -> Any:
            if keyword in kwargs:
                kwargs[keyword] = self.writing(kwargs[keyword], kept=True)
            elif len(args) > position:
                args = (*args[:position], self.writing(args[position], kept=True), *args[position + 1 :])
            return original(*args, **kwargs)

        return turned

    # -- where a path leads ------------------------------------------------------------------------------------------

    def is_own(self, path: str) -> bool:
        """True for what may be written as it is."""
        whole = os.path.abspath(path)
        return whole.startswith((self._folder + os.sep, self._built + os.sep, *_DEVICES))

    def copy_of(self, path: str) -> str:
        """Where the copy of `path` lies, if there is one."""
        return self._copies + os.path.abspath(path)

    def reading(self, path: Any) -> Any:
        """The path to read `path` from."""
        name = _text(path)
        if name is None or self.is_own(name):
            return path
        copy = self.copy_of(name)
        return copy if _exists(copy) or self._is_gone(os.path.abspath(name)) else path

    def writing(self, path: Any, *, kept: bool) -> Any:
        """The path to write `path` to; `kept`: what is there now is part of what will be."""
        name = _text(path)
        if name is None or self.is_own(name):
            return path
        whole, copy = os.path.abspath(name), self.copy_of(name)
        parent = os.path.dirname(whole)
        if not _exists(os.path.dirname(copy)):
            if self._is_gone(parent) or not _is_folder(parent):
                return copy  # which fails as it should
            _mkdirs(os.path.dirname(copy))
        if kept and not _exists(copy) and _exists(whole) and not self._is_gone(whole):
            if _is_folder(whole):
                self._refused(f"it moves or changes the folder {name!r}")
            _copy(whole, copy)
        return copy

    def remove(self, path: Any) -> None:
        """Note that the user's file or folder at `path` is gone for this trial."""
        name = _text(path)
        if name is not None and not self.is_own(name):
            self._gone.add(os.path.abspath(name))

    def _is_gone(self, whole: str) -> bool:
        while self._gone and whole not in self._gone:
            parent = os.path.dirname(whole)
            if parent == whole:
                return False
            whole = parent
        return bool(self._gone)

    def both(self, path: Any) -> tuple[Any, Any] | None:
        """The user's folder and the copy of it, where what lies in it lies in both."""
        name = _text(path)
        if name is None or self.is_own(name) or self._is_gone(os.path.abspath(name)):
            return None
        copy = self.copy_of(name)
        whole = os.path.abspath(name)
        inside = any(os.path.dirname(gone) == whole for gone in self._gone)
        return (path, copy) if (_exists(copy) and _is_folder(name)) or inside else None

    # -- functions in the place of Python's ----------------------------------------------------------------------------

    def _read(self, *names: str) -> None:
        for name in names:
            original = getattr(os, name)

            @functools.wraps(original)
            def looked(path: Any = ".", *args: Any, _original: Any = original, _name: str = name, **kwargs: Any) -> Any:
                return _original(path if kwargs.get("dir_fd") is not None else self.reading(path), *args, **kwargs)

            setattr(os, name, looked)

    def _list(self) -> None:
        listdir, scandir = os.listdir, os.scandir

        @functools.wraps(listdir)
        def listed(path: Any = ".") -> Any:
            return listdir(self.reading(path)) if self.both(path) is None else [entry.name for entry in scanned(path)]

        @functools.wraps(scandir)
        def scanned(path: Any = ".") -> Any:
            places = self.both(path)
            if places is None:
                return scandir(self.reading(path))
            theirs, own = places
            copies = list(scandir(own)) if _exists(own) else []
            names = {entry.name for entry in copies}
            folder = os.path.abspath(_text(theirs) or ".")
            kept = [x for x in scandir(theirs) if x.name not in names and os.path.join(folder, x.name) not in self._gone]
            return _Entries([*kept, *copies])

        setattr(os, "listdir", listed)  # noqa: B010  (an assignment would have to repeat its type)
        setattr(os, "scandir", scanned)  # noqa: B010

    def _change(self, *names: str) -> None:
        for name in names:
            original = getattr(os, name)

            @functools.wraps(original)
            def changed(path: Any, *args: Any, _original: Any = original, **kwargs: Any) -> Any:
                return _original(self.writing(path, kept=True), *args, **kwargs)

            setattr(os, name, changed)

    def _make(self) -> None:
        mkdir, remove, rmdir, replace, rmtree = os.mkdir, os.remove, os.rmdir, os.replace, shutil.rmtree
        stat = _ORIGINAL_STAT

        @functools.wraps(mkdir)
        def make(path: Any, *args: Any, **kwargs: Any) -> None:
            here = self.reading(path)
            if here is path and _text(path) is not None and not self.is_own(_text(path) or "") and _exists(path):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
            mkdir(self.writing(path, kept=False), *args, **kwargs)

        def away(original: Any) -> Any:
            @functools.wraps(original)
            def removed(path: Any, *args: Any, **kwargs: Any) -> None:
                here = path if kwargs.get("dir_fd") is not None else self.reading(path)
                if here is not path or kwargs.get("dir_fd") is not None or self.is_own(_text(path) or ""):
                    original(here, *args, **kwargs)
                else:
                    stat(path)  # fails as it should where there is nothing
                self.remove(path)

            return removed

        @functools.wraps(replace)
        def moved(source: Any, target: Any, *args: Any, **kwargs: Any) -> None:
            replace(self.writing(source, kept=True), self.writing(target, kept=False), *args, **kwargs)
            self.remove(source)

        @functools.wraps(rmtree)
        def cleared(path: Any, *args: Any, **kwargs: Any) -> None:
            here = self.reading(path)
            if here is not path or self.is_own(_text(path) or ""):
                rmtree(here, *args, **kwargs)
            self.remove(path)

        os.mkdir = make
        os.remove = os.unlink = away(remove)
        os.rmdir = away(rmdir)
        setattr(os, "replace", moved)  # noqa: B010  (an assignment would have to repeat its type)
        setattr(os, "rename", moved)  # noqa: B010
        shutil.rmtree = cleared  # type: ignore[assignment]

    # -- what goes past them -------------------------------------------------------------------------------------------

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        wanted = None
        if event == "open":
            path, mode, flags = arguments
            writes = bool(_WRITING & set(mode)) if isinstance(mode, str) else bool((flags or 0) & (os.O_WRONLY | os.O_RDWR))
            if writes and isinstance(path, (str, bytes)) and not self.is_own(os.fsdecode(path)):
                wanted = f"it opens {os.fsdecode(path)!r} for writing"
        elif event in _CHANGING:
            at = 1 if event in ("os.link", "os.symlink") else 0
            name = _inside(_text(arguments[at]), -1 if event == "os.truncate" else arguments[-1])
            if name is not None and not self.is_own(name):
                wanted = f"it calls {event} on {name!r}"
        elif event == "sqlite3.connect":
            name = _text(arguments[0])
            if name not in (None, "", ":memory:") and not self.is_own(name or ""):
                wanted = f"it opens the database {name!r}"
        elif event in ("subprocess.Popen", "os.system", "os.posix_spawn", "os.exec"):
            if _started_by_user():
                wanted = "it starts another program"
        elif event in ("socket.connect", "socket.bind", "socket.sendto"):
            if isinstance(arguments[1], tuple):  # those of this machine have a path
                raise ConnectionRefusedError(errno.ECONNREFUSED, "a trial has no network")
        elif event == "socket.getaddrinfo":
            raise OSError(errno.ENETUNREACH, "a trial has no network")
        if wanted is not None:
            self._refused(wanted)


class _Entries:
    """What `os.scandir` gives, of two folders at once."""

    def __init__(self, entries: list[os.DirEntry[str]]) -> None:
        self._left = iter(entries)

    def __iter__(self) -> _Entries:
        return self

    def __next__(self) -> os.DirEntry[str]:
        return next(self._left)

    def __enter__(self) -> _Entries:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        self._left = iter(())


_ORIGINAL_STAT = os.stat


def _text(path: Any) -> str | None:
    """`path` as text; ``None`` for a descriptor, or for what is no path."""
    if isinstance(path, (str, bytes, os.PathLike)):
        return os.fsdecode(path)
    return None


def _inside(name: str | None, descriptor: Any) -> str | None:
    """`name`, which is relative to the open folder `descriptor` if that is one."""
    if name is None or type(descriptor) is not int or descriptor < 0:
        return name
    try:
        return os.path.join(os.readlink(f"/proc/self/fd/{descriptor}"), name)
    except OSError:
        return name


def _exists(path: Any) -> bool:
    try:
        _ORIGINAL_STAT(path)
    except (OSError, ValueError):
        return False
    return True


def _is_folder(path: str) -> bool:
    import stat

    try:
        return stat.S_ISDIR(_ORIGINAL_STAT(path).st_mode)
    except (OSError, ValueError):
        return False


_ORIGINAL_MKDIR = os.mkdir
_ORIGINAL_OPEN = io.open


def _mkdirs(path: str) -> None:
    missing = []
    while not _exists(path):
        missing.append(path)
        path = os.path.dirname(path)
    for name in reversed(missing):
        _ORIGINAL_MKDIR(name)


def _copy(source: str, target: str) -> None:
    with _ORIGINAL_OPEN(source, "rb") as old, _ORIGINAL_OPEN(target, "wb") as new:
        shutil.copyfileobj(old, new)


def _opened(scratch: Scratch, original: Any, file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
    if isinstance(mode, str) and not _WRITING.isdisjoint(mode):
        file = scratch.writing(file, kept="w" not in mode)
    else:
        file = scratch.reading(file)
    return original(file, mode, *args, **kwargs)


def _opened_low(scratch: Scratch, original: Any, path: Any, flags: int, *args: Any, **kwargs: Any) -> Any:
    if kwargs.get("dir_fd") is None:
        writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        path = scratch.writing(path, kept=not flags & os.O_TRUNC) if writes else scratch.reading(path)
    return original(path, flags, *args, **kwargs)


def _started_by_user() -> bool:
    """True if the user's own code asked for another program, and not a library for its own ends: a compiler, or what Python
    itself asks about the machine."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if is_user_file(name):
            return True
        if os.path.dirname(os.path.realpath(name)) != _PACKAGE and not name.endswith(_STARTERS):
            return False
        frame = frame.f_back
    return False


_PACKAGE = os.path.dirname(os.path.realpath(__file__))
_STARTERS = (f"{os.sep}subprocess.py", f"{os.sep}os.py", f"{os.sep}base_events.py", f"{os.sep}unix_events.py")
"""Files of Python that start programs for whoever calls them."""
