"""Ways to look at one training step: bare, watched by stayfinite, or checked by a peer.

Every arm trains the same model with the same optimizer; what it adds is put on before a chunk of steps and taken off
after it, outside the clock.
"""

from __future__ import annotations

import collections
import contextlib
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode

from stayfinite.engine.investigate import investigate
from stayfinite.engine.monitor import Monitor
from stayfinite.frameworks.torch.options import Options
from stayfinite.frameworks.torch.session import Session
from stayfinite.rewrite import runtime
from stayfinite.rewrite.loader import Rewriter, execute

WORKLOADS = Path(__file__).parent / "workloads"

Around = Callable[[], contextlib.AbstractContextManager[Any]]


@dataclass(frozen=True)
class Arm:
    """`train` is run inside `around()`."""

    name: str
    train: Callable[..., None]
    around: Around


@dataclass(frozen=True)
class Workload:
    """A script of `workloads/`, loaded twice: as it is and with its loop wrapped."""

    name: str
    bare: types.ModuleType
    wrapped: types.ModuleType

    @property
    def title(self) -> str:
        """First line of the script's docstring."""
        return (self.bare.__doc__ or "").strip().splitlines()[0]


class _Silent:
    """A listener for healthy training: any word from the session means that the benchmark measures the wrong thing."""

    def _speak(self, *arguments: Any) -> None:
        raise AssertionError(f"a healthy workload was reported: {arguments}")

    symptom = stage = located = incident = warning = _speak

    def case_folder(self, incident: str) -> None:
        return None


def load(name: str) -> Workload:
    """The script `workloads/<name>.py`, bare and wrapped.

    **Raises** AssertionError if its loop is not one that stayfinite wraps.
    """
    path = WORKLOADS / f"{name}.py"

    def refuse(file: str, error: Exception) -> None:
        raise error

    modules = []
    source = path.read_bytes()
    for kind in ("bare", "wrapped"):
        module = types.ModuleType(f"{kind}_{name}")
        module.__file__ = str(path)
        sys.modules[module.__name__] = module
        before = len(runtime.blocks)
        if kind == "wrapped":
            code = Rewriter(str(WORKLOADS), refuse).compile(source, str(path))
            found = len(runtime.blocks) - before
            assert found == 1, f"{name}: {found} loops were wrapped, not 1"
        else:
            code = compile(source, str(path), "exec", dont_inherit=True)
        execute(code, module)
        modules.append(module)
    return Workload(name, modules[0], modules[1])


class Watched:
    """A session that is attached for a chunk of steps at a time."""

    def __init__(self, every: int = Options.every) -> None:
        options = Options(every=every, folder=str(WORKLOADS))
        self.session = Session(_Silent(), options, investigate, Monitor())  # type: ignore[arg-type]

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        self.session.install()
        try:
            yield
        finally:
            self.session.close()


# -- peers -------------------------------------------------------------------------------------------------------


def loss_check() -> contextlib.AbstractContextManager[None]:
    """`isfinite(loss)` read on the host before each backward."""

    @contextlib.contextmanager
    def around() -> Iterator[None]:
        original = torch.autograd.backward

        def backward(tensors: Any, *args: Any, **kwargs: Any) -> None:
            if not torch.isfinite(tensors.detach()).all().item():
                raise FloatingPointError("loss is not finite")
            original(tensors, *args, **kwargs)

        torch.autograd.backward = backward  # type: ignore[assignment]
        try:
            yield
        finally:
            torch.autograd.backward = original

    return around()


@contextlib.contextmanager
def gradient_norm_check() -> Iterator[None]:
    """`clip_grad_norm_(error_if_nonfinite=True)` before each step, with a limit that never clips."""

    def check(optimizer: Optimizer, _args: Any, _kwargs: Any) -> None:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        nn.utils.clip_grad_norm_(parameters, 1e30, error_if_nonfinite=True)

    handle = register_optimizer_step_pre_hook(check)
    try:
        yield
    finally:
        handle.remove()


@contextlib.contextmanager
def anomaly_mode() -> Iterator[None]:
    """`torch.autograd.set_detect_anomaly(True)`."""
    with torch.autograd.set_detect_anomaly(True):
        yield


@contextlib.contextmanager
def forward_hooks() -> Iterator[None]:
    """A forward hook on every module that looks at its output."""

    def check(module: nn.Module, _inputs: Any, output: Any) -> None:
        for value in output if isinstance(output, (tuple, list)) else (output,):
            if isinstance(value, Tensor) and value.is_floating_point() and not torch.isfinite(value).all().item():
                raise FloatingPointError(f"output of {type(module).__name__} is not finite")

    handle = nn.modules.module.register_module_forward_hook(check)
    try:
        yield
    finally:
        handle.remove()


class _FiniteMode(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        if "empty" not in func.__name__:
            for value in output if isinstance(output, (tuple, list)) else (output,):
                if isinstance(value, Tensor) and value.is_floating_point() and not torch.isfinite(value).all().item():
                    raise FloatingPointError(f"{func} gave a non-finite value")
        return output


def per_operation_check() -> contextlib.AbstractContextManager[Any]:
    """A dispatch mode that looks at the output of every operation, backward and optimizer included."""
    return _FiniteMode()


class _Extremes:
    """Reads what `transformers.debug_utils.DebugUnderflowOverflow` reads, written from its description: after each module
    the smallest and largest magnitude of its weights, inputs and outputs, and whether inputs and outputs hold a NaN or an
    infinity. The lines of the last modules are kept, to be shown with the alarm."""

    KEPT = 21

    def __init__(self) -> None:
        self._lines: collections.deque[list[str]] = collections.deque(maxlen=self.KEPT)

    def __call__(self, module: nn.Module, inputs: Any, output: Any) -> None:
        lines = [type(module).__name__]
        lines += [self._extremes(name, parameter) for name, parameter in module.named_parameters(recurse=False)]
        bad = False
        for name, value in (("input", inputs), ("output", output)):
            for tensor in value if isinstance(value, (tuple, list)) else (value,):
                if isinstance(tensor, Tensor) and tensor.is_floating_point():
                    lines.append(self._extremes(name, tensor))
                    bad |= bool(torch.isnan(tensor).any().item()) | bool(torch.isinf(tensor).any().item())
        self._lines.append(lines)
        if bad:
            raise FloatingPointError("not finite:\n" + "\n".join(line for entry in self._lines for line in entry))

    def _extremes(self, name: str, tensor: Tensor) -> str:
        magnitudes = tensor.detach().abs()
        return f"{magnitudes.min().item():8.2e} {magnitudes.max().item():8.2e} {name}" if tensor.numel() else f"empty {name}"


@contextlib.contextmanager
def module_extremes() -> Iterator[None]:
    """A forward hook on every module that reads weights, inputs and outputs, as DebugUnderflowOverflow does."""
    handle = nn.modules.module.register_module_forward_hook(_Extremes())
    try:
        yield
    finally:
        handle.remove()


PEERS: dict[str, Around] = {
    "loss check only": loss_check,
    "clip_grad_norm_, error_if_nonfinite": gradient_norm_check,
    "forward hooks, isfinite": forward_hooks,
    "forward hooks, extremes of all": module_extremes,
    "anomaly mode": anomaly_mode,
    "isfinite on every operation": per_operation_check,
}
