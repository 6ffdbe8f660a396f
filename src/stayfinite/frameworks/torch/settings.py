"""What a script may have set in the framework for all that follows it in the process."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch


def settings() -> Callable[[], None]:
    """Note them. **Returns** what puts them back, for a script that begins again."""
    dtype, device, threads = torch.get_default_dtype(), torch.get_default_device(), torch.get_num_threads()
    deterministic, warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    anomaly, precision = torch.is_anomaly_enabled(), torch.get_float32_matmul_precision()
    benchmark, fixed = torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic

    def put_back() -> None:
        torch.set_grad_enabled(True)
        torch.set_default_dtype(dtype)
        torch.set_default_device(None if device == torch.device("cpu") else device)
        torch.set_num_threads(threads)
        torch.set_num_interop_threads = _unless_set(torch.set_num_interop_threads)
        torch.use_deterministic_algorithms(deterministic, warn_only=warns)
        torch.autograd.set_detect_anomaly(anomaly)
        torch.set_float32_matmul_precision(precision)
        torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = benchmark, fixed
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()

    return put_back


def _unless_set(setter: Callable[[int], None]) -> Callable[[int], None]:
    """`torch.set_num_interop_threads`, which raises when it is called twice in a process, for a script that calls it as before."""

    @functools.wraps(setter)
    def set_num_interop_threads(threads: int) -> None:
        if threads != torch.get_num_interop_threads():
            setter(threads)

    return set_num_interop_threads
