"""What a script that begins again finds as it was."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BEGINNING = """
import sys
from stayfinite.cli.anew import Before

before, streams = Before(), (sys.stdout, sys.stderr, sys.excepthook)
for time in range(2):
    import multiprocessing
    multiprocessing.set_start_method("spawn")
    sys.stdout = sys.stderr = open("log.txt", "w")
    sys.excepthook = print
    before.put_back()
    assert (sys.stdout, sys.stderr, sys.excepthook) == streams
print(multiprocessing.get_start_method(allow_none=True))
"""


LOGGING = """
import logging, sys
from stayfinite.cli.anew import Before

before = Before()
import wave
for name in ("", "mine", "wave.reader"):
    logging.getLogger(name).addHandler(logging.NullHandler())
before.put_back()
print([len(logging.getLogger(name).handlers) for name in ("", "mine", "wave.reader")])
"""


def test_loggers_of_the_script_are_put_back_and_those_of_libraries_that_stay_loaded_are_left() -> None:
    done = subprocess.run([sys.executable, "-c", LOGGING], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("[0, 0, 1]\n", "")


def test_streams_and_the_way_to_start_processes_are_put_back(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", BEGINNING], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("None\n", "")
