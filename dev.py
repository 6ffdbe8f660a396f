#!/usr/bin/env python3
"""Set up a development environment and run things in it. Standard library only; Linux, macOS, Windows.

    python3 dev.py demo              a real training that fails, run under stayfinite
    python3 dev.py test [ARGS...]    ruff, mypy, then pytest; ARGS go to pytest
    python3 dev.py bench [NAME ...]  the benchmarks; without NAME it lists them
    python3 dev.py setup             only the environment

Everything lives in `.venv` beside this file. It is made once, and brought up to date only when `pyproject.toml` or
`constraints.txt` changed. A PyTorch that is there already (in `.venv`, or in the Python this file runs under) is kept.
"""

from __future__ import annotations

import sys

# Before any other import, and in words an old Python understands, so that it prints a sentence and not a traceback.
if sys.version_info < (3, 11):  # noqa: UP036
    sys.exit(
        f"dev.py: Python 3.11 or newer is needed; {sys.executable} is {sys.version_info[0]}.{sys.version_info[1]}.\n"
        f"Try: python3.12 dev.py {' '.join(sys.argv[1:])}"
    )

import hashlib
import importlib.metadata
import json
import os
import re
import subprocess
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
STAMP = VENV / "stayfinite-setup.json"
DEMO = ROOT / "gallery" / "digits-closeup"

EXTRAS = {"demo": {"torch", "examples"}, "bench": {"torch", "examples", "test"}}
EVERYTHING = {"torch", "examples", "test", "lint"}

# Measured with pip on the wheels of November 2026 (Python 3.11 on Linux x86-64, 3.12 elsewhere), in MB.
OTHER_PACKAGES = {"demo": 101, "test": 138}
TORCH_WITH_CUDA, TORCH_CPU = 2730, 192

INCIDENT_STOPPED = 3
"""The exit code of `stayfinite run` when an incident stopped the training."""

FAILED = 2
"""Our own exit code for wrong use and for a set-up that did not work; the commands' own codes pass through."""


class SetupError(Exception):
    """The environment could not be made. The message says what to do."""


def digest() -> str:
    """Changes when the environment has to be brought up to date: the two files, and where they are."""
    parts = [(ROOT / name).read_bytes() for name in ("pyproject.toml", "constraints.txt")]
    return hashlib.sha256(b"\0".join([*parts, str(ROOT).encode()])).hexdigest()


def installed_extras() -> set[str]:
    """What the last set-up installed; empty if there was none or it is out of date."""
    try:
        stamp = json.loads(STAMP.read_text(encoding="utf-8"))
        return set(stamp["extras"]) if stamp["digest"] == digest() and PYTHON.exists() else set()
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def torch_beside_us() -> str | None:
    """The version of the PyTorch that the Python running this file has and `.venv` could share, or None."""
    if sys.prefix != sys.base_prefix:
        return None  # another virtual environment cannot be shared, only a Python's own packages can
    try:
        return importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return None


def torch_in_venv() -> str | None:
    """The version of the PyTorch that `.venv` can import, or None."""
    code = "import importlib.metadata; print(importlib.metadata.version('torch'))"
    done = subprocess.run([PYTHON, "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def recent_enough(version: str | None) -> bool:
    """True for a PyTorch that `pyproject.toml` accepts."""
    match = re.match(r"(\d+)\.(\d+)", version or "")
    return match is not None and (int(match[1]), int(match[2])) >= (2, 6)


def make_venv() -> None:
    """Create `.venv`, sharing the packages of this Python only if a usable PyTorch is among them."""
    beside = torch_beside_us()
    shared = recent_enough(beside)
    print(f"dev.py: making {VENV}" + (f" (it shares PyTorch {beside} with {sys.executable})" if shared else ""))
    try:
        venv.create(VENV, with_pip=True, system_site_packages=shared, symlinks=os.name != "nt")
    except (OSError, subprocess.CalledProcessError) as error:
        raise SetupError(
            f"the virtual environment could not be made: {error}\n"
            "On Debian and Ubuntu the package python3-venv is needed: sudo apt-get install python3-venv"
        ) from error


def announce(extras: set[str], kept: str | None) -> None:
    """Say what is about to be downloaded, how much, and how long that takes, before it begins."""
    other = OTHER_PACKAGES["test" if "lint" in extras else "demo"]
    if STAMP.exists():
        print("dev.py: bringing .venv up to date; what is there already is not downloaded again.")
    else:
        print("dev.py: installing stayfinite and what it needs into .venv; this happens once.")
    if kept:
        print(f"  Download: at most {other} MB, within a minute or so. PyTorch {kept} is kept as it is.", flush=True)
        return
    if sys.platform == "linux":
        print(
            f"  Download: about {(TORCH_CPU + other) / 1000:.1f} GB where pip finds a CPU build of PyTorch, "
            f"about {(TORCH_WITH_CUDA + other) / 1000:.1f} GB where it takes the build with CUDA.\n"
            "  (To choose yourself: install PyTorch into .venv first, it is kept.)"
        )
    else:
        print(f"  Download: about {(TORCH_CPU + other) / 1000:.1f} GB.")
    print("  Time: one to three minutes for the small download on a fast line, about ten for a large one.", flush=True)


def pip_install(extras: set[str], kept: str | None) -> None:
    """Install the project, editable, with `extras`. Shows the downloads above 1 MB; on failure pip's last lines."""
    constraints = ROOT / "constraints.txt"
    if kept:
        lines = constraints.read_text(encoding="utf-8").splitlines()
        constraints = VENV / "constraints-kept-torch.txt"
        constraints.write_text("\n".join(line for line in lines if not line.startswith("torch==")), encoding="utf-8")
    command = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off"]
    command += ["--constraint", str(constraints), "--editable", f"{ROOT}[{','.join(sorted(extras))}]"]
    said: list[str] = []
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", errors="replace"
    ) as pip:
        assert pip.stdout is not None
        for line in pip.stdout:
            said.append(line)
            large = re.match(r"\s*Downloading ([^-/\s]+-[^-\s]+)\S* (\([\d.]+ [MG]B\))", line)
            if large:
                print("  downloading", *large.groups(), flush=True)
            elif line.startswith("Installing collected packages"):
                print("  installing", flush=True)
    if pip.returncode != 0:
        raise SetupError(f"pip failed; its last lines were:\n\n{''.join(said[-25:])}\nMend that, then run this again.")


def set_up(extras: set[str]) -> None:
    """Bring `.venv` to where `extras` are installed. Does nothing, and prints nothing, if they are."""
    present = installed_extras()
    if extras <= present:
        return
    started = time.monotonic()
    if not PYTHON.exists():
        if VENV.exists():
            raise SetupError(f"{VENV} exists but has no {PYTHON.name}. Remove that folder, then run this again.")
        make_venv()
    if subprocess.run([PYTHON, "-m", "pip", "--version"], capture_output=True, check=False).returncode != 0:
        raise SetupError(f"{VENV} has no working pip (an interrupted set-up?). Remove that folder, then try again.")
    found = torch_in_venv()
    kept = found if recent_enough(found) else None
    announce(extras | present, kept)
    pip_install(extras | present, kept)
    STAMP.write_text(json.dumps({"digest": digest(), "extras": sorted(extras | present)}), encoding="utf-8")
    print(f"dev.py: ready after {time.monotonic() - started:.0f} s.\n", flush=True)


def call(*arguments: str | Path) -> int:
    """Run the environment's Python in the root of the repository; its exit code."""
    with subprocess.Popen([PYTHON, *arguments], cwd=ROOT) as child:
        try:
            return child.wait()
        except KeyboardInterrupt:  # the child got it too, and has closing lines to print
            return child.wait()


def demo(arguments: list[str]) -> int:
    """Run a gallery training that fails, under stayfinite. An incident that stopped it is the success of the demo."""
    if arguments:
        return wrong_use("demo takes no arguments")
    script = (DEMO / "train.py").relative_to(ROOT).as_posix()
    twin = (DEMO / "train_fixed.py").relative_to(ROOT).as_posix()
    set_up(EXTRAS["demo"])
    # right after the set-up nothing is compiled or cached: the script takes four times as long, and trials are measured by that
    budget = ("--budget", "240")
    print(f"$ stayfinite run {' '.join(budget)} {script}\n", flush=True)
    code = call("-m", "stayfinite", "run", *budget, script)
    sys.stdout.flush()
    if code != INCIDENT_STOPPED:
        print(f"\ndev.py: the demo ended with exit code {code}; {INCIDENT_STOPPED} was expected.", file=sys.stderr)
        return code or 1
    print(
        "\nThat was the demo: the training went bad by itself, was stopped before the bad update and is explained "
        f"above (exit code {INCIDENT_STOPPED}).\n"
        f"Its healthy twin, which stays silent: {PYTHON.relative_to(ROOT)} -m stayfinite run {twin}"
    )
    return 0


def test(arguments: list[str]) -> int:
    """Ruff, mypy, pytest, in this order, each whatever the others said; pytest's lines come last."""
    set_up(EVERYTHING)
    failed = []
    for name, command in (("ruff", ("ruff", "check", "--output-format", "concise")), ("mypy", ("mypy",))):
        print(f"$ {' '.join(command)}", flush=True)
        if call("-m", *command) != 0:
            failed.append(name)
    print(f"$ pytest {' '.join(arguments)}".rstrip(), flush=True)
    code = call("-m", "pytest", *arguments)
    if failed:
        print(f"dev.py: {' and '.join(failed)} failed, see above", file=sys.stderr)
    return code or (1 if failed else 0)


def bench(arguments: list[str]) -> int:
    """Run one benchmark by the name of its file in `bench/`, or list them."""
    names = sorted(path.stem for path in (ROOT / "bench").glob("*.py") if not path.name.startswith("_"))
    if not arguments:
        print("Benchmarks (python3 dev.py bench NAME [ARGS...]):", *names, sep="\n  ")
        return 0
    name, *rest = arguments
    if name not in names:
        return wrong_use(f"there is no benchmark {name!r}; there are: {', '.join(names) or 'none'}")
    set_up(EXTRAS["bench"])
    return call(Path("bench") / f"{name}.py", *rest)


def setup(arguments: list[str]) -> int:
    """Make the environment with everything in it."""
    if arguments:
        return wrong_use("setup takes no arguments")
    set_up(EVERYTHING)
    print(f"dev.py: {VENV} is up to date.")
    return 0


def wrong_use(message: str) -> int:
    """Say what was wrong and what is accepted."""
    print(f"dev.py: {message}\n\n{__doc__}", file=sys.stderr)
    return FAILED


COMMANDS = {"demo": demo, "test": test, "bench": bench, "setup": setup}


def main(arguments: list[str]) -> int:
    """Run one command; its exit code."""
    if arguments and arguments[0] in ("-h", "--help", "help"):
        print(__doc__)
        return 0
    if not arguments or arguments[0] not in COMMANDS:
        return wrong_use(f"{arguments[0]!r} is no command" if arguments else "a command is needed")
    try:
        return COMMANDS[arguments[0]](arguments[1:])
    except SetupError as error:
        print(f"dev.py: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("\ndev.py: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
