"""What a script that begins again may set once more."""

from __future__ import annotations

import subprocess
import sys

AGAIN = """
import torch
from stayfinite.frameworks.torch.settings import settings

put_back = settings()
for threads in (3, 3, 3):
    torch.set_num_interop_threads(threads)
    put_back()
try:
    torch.set_num_interop_threads(2)
except RuntimeError:
    print(torch.get_num_interop_threads())
"""


def test_the_number_of_threads_between_operations_is_set_as_before_and_to_no_other() -> None:
    done = subprocess.run([sys.executable, "-c", AGAIN], capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("3\n", "")
