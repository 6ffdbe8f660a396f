"""Runs a whole script under one tracer: ``python under_microscope.py train.py``. What the tracer found is the last line
on standard error."""

from __future__ import annotations

import json
import os
import runpy
import sys
from typing import Any

import torch

from stayfinite.frameworks.torch.tracing.tracer import Tracer


def main() -> None:
    script = os.path.abspath(sys.argv[1])
    sys.argv = sys.argv[1:]
    folder = os.path.dirname(script)
    sys.path[0] = folder
    tracer = Tracer([], {}, [], lambda file: file.startswith(folder), lambda file: os.path.relpath(file, folder))
    plain = torch.autograd.backward

    def backward(tensors: Any, *args: Any, **kwargs: Any) -> Any:
        tracer.note_loss(tensors)
        return plain(tensors, *args, **kwargs)

    torch.autograd.backward = backward
    torch.compiler.set_stance("force_eager")
    try:
        with tracer:
            runpy.run_path(script, run_name="__main__")
    finally:
        trace = tracer.finish()
        print(
            json.dumps({"operations": trace.operations, "sinks": len(trace.sinks), "unseen": trace.unseen}),
            file=sys.stderr,
        )


if __name__ == "__main__":
    main()
