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


def test_streams_and_the_way_to_start_processes_are_put_back(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", BEGINNING], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("None\n", "")
