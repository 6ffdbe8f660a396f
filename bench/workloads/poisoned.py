"""One of the other workloads, healthy for thirty steps; then its data, or for token data its last layer, goes bad.

    python poisoned.py NAME

It prints the median seconds of a healthy step; just before the first bad number exists, the time of the system-wide
monotonic clock and the CPU time used so far; and at exit, before torch is taken down, the CPU time again.
"""

import atexit
import importlib
import statistics
import sys
import time

import torch

HEALTHY = 30


def batches_of(batches, model):
    seconds = []
    for number in range(HEALTHY):
        begun = time.monotonic()
        yield batches[number % len(batches)]
        seconds.append(time.monotonic() - begun)
    print("step", statistics.median(seconds))
    inputs, targets = batches[0]
    if inputs.is_floating_point():
        inputs = inputs.clone()
        inputs[3] = float("nan")
    else:
        with torch.no_grad():
            model.head.weight.mul_(1e38)
    print("bad", time.monotonic(), time.process_time(), flush=True)
    yield inputs, targets


if __name__ == "__main__":
    atexit.register(lambda: print("end", time.process_time()))
    torch.set_num_threads(1)
    workload = importlib.import_module(sys.argv[1])
    trained, healthy = workload.prepare()
    workload.train(*trained, batches_of(healthy, trained[0]))
