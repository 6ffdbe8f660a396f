"""A traced step is the step: same bits, same random numbers, same exceptions, and nothing left behind."""

from __future__ import annotations

import gc
import random
import time
import weakref

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.modules import module as module_hooks
from torch.optim import optimizer as optimizer_hooks
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from tracing import FOLDER, trace_step

from stayfinite.frameworks.torch.tracing.tracer import Tracer

torch.set_num_threads(1)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)
        self.rnn = nn.GRU(6, 6, batch_first=True)
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.relu(self.norm(self.conv(x))).flatten(2).transpose(1, 2)
        h = h + self.attention(h, h, h)[0]
        h, _ = self.rnn(self.drop(h))
        h[:, 0] += torch.rand_like(h[:, 0])
        return self.head(h.amax(1)).masked_fill(torch.zeros(3).bool(), float("-inf"))


def world() -> tuple[Net, torch.optim.Optimizer, torch.Tensor, torch.Tensor]:
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    net = Net()
    return net, torch.optim.AdamW(net.parameters(), 1e-2), torch.rand(8, 1, 6, 6), torch.randint(3, (8,))


def one_step(net: Net, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    optimizer.zero_grad()
    loss = F.cross_entropy(net(x), y)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    optimizer.step()
    return loss.detach()


def state(net: Net, optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    moments = [
        value for entry in optimizer.state.values() for value in entry.values() if isinstance(value, torch.Tensor)
    ]
    gradients = [p.grad for p in net.parameters() if p.grad is not None]
    return [*net.state_dict().values(), *moments, *gradients, torch.get_rng_state()]


def test_results_and_random_numbers_are_bit_equal() -> None:
    bare = world()
    losses = [one_step(*bare) for _ in range(3)]
    draws = (random.random(), np.random.rand())
    expected = [value.clone() for value in state(*bare[:2])]
    seen = world()
    traced_losses = [
        trace_step(lambda: one_step(*seen), [seen[0]], {"x": seen[2], "y": seen[3]}, [seen[1]]).result for _ in range(3)
    ]
    assert (random.random(), np.random.rand()) == draws
    assert all(torch.equal(a, b) for a, b in zip(losses, traced_losses, strict=True))
    found = state(*seen[:2])
    assert len(found) == len(expected) > 40
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))


def left_behind(net: nn.Module) -> tuple[object, ...]:
    return (
        len(module_hooks._global_forward_hooks),
        len(module_hooks._global_forward_pre_hooks),
        len(module_hooks._global_forward_hooks_always_called),
        len(optimizer_hooks._global_optimizer_pre_hooks),
        len(optimizer_hooks._global_optimizer_post_hooks),
        torch._C._len_torch_dispatch_stack(),
        torch._C._len_torch_function_stack(),
        tuple(p._post_accumulate_grad_hooks is None for p in net.parameters()),
        torch.is_grad_enabled(),
        torch.is_anomaly_enabled(),
        torch.autograd.backward,
    )


def test_every_hook_and_mode_is_gone() -> None:
    net, optimizer, x, y = world()
    before = left_behind(net)
    trace_step(lambda: one_step(net, optimizer, x, y), [net], {"x": x, "y": y}, [optimizer])
    assert left_behind(net) == before


@pytest.mark.parametrize("place", ["step", "forward", "hook", "backward", "operator"])
def test_every_hook_and_mode_is_gone_after_an_exception(place: str) -> None:
    net, optimizer, x, y = world()
    before = left_behind(net)

    def fail(*_: object) -> None:
        raise KeyboardInterrupt if place == "hook" else ZeroDivisionError(place)

    handle = net.head.register_forward_pre_hook(fail) if place in ("forward", "hook") else None

    def step() -> None:
        if place == "step":
            fail()
        loss = F.cross_entropy(net(x), y + (5 if place == "operator" else 0))
        if place == "backward":
            loss.register_hook(fail)
        loss.backward()

    tracer = Tracer([net], {"x": x}, [optimizer], lambda file: file.startswith(FOLDER), str)
    expected = {"hook": KeyboardInterrupt, "operator": IndexError}.get(place, ZeroDivisionError)
    with pytest.raises(expected), tracer:
        step()
    if handle is not None:
        handle.remove()
    assert left_behind(net) == before
    assert tracer.finish().operations >= 0


def test_nothing_is_kept_alive() -> None:
    class Plain:
        """Makes a weak reference possible."""

    def run() -> tuple[weakref.ref, weakref.ref]:
        net, optimizer, x, y = world()
        x[0] = float("nan")
        traced = trace_step(lambda: one_step(net, optimizer, x, y), [net], {"x": x, "y": y}, [optimizer])
        assert traced.trace.sinks
        return weakref.ref(net), weakref.ref(x)

    net, x = run()
    gc.collect()
    assert net() is None and x() is None


def test_modes_of_the_user_see_only_the_users_operators() -> None:
    class Count(TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()
            self.seen: list[str] = []

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            self.seen.append(str(func))
            return func(*args, **(kwargs or {}))

    class CountFunctions(TorchFunctionMode):
        def __init__(self) -> None:
            super().__init__()
            self.seen: list[str] = []

        def __torch_function__(self, func, types, args=(), kwargs=None):
            self.seen.append(str(func))
            return func(*args, **(kwargs or {}))

    def seen(traced: bool) -> tuple[list[str], list[str]]:
        net, optimizer, x, y = world()
        x[1] = float("nan")
        with Count() as below, CountFunctions() as functions:
            if traced:
                tracer = Tracer([net], {"x": x, "y": y}, [optimizer], lambda file: file.startswith(FOLDER), str)
                with tracer:
                    one_step(net, optimizer, x, y)
                assert tracer.finish().sinks
            else:
                one_step(net, optimizer, x, y)
        return below.seen, functions.seen

    bare, watched = seen(False), seen(True)
    assert watched[0] == bare[0]
    assert watched[1] == bare[1]


def test_foreign_tensors_are_reported_and_not_touched() -> None:
    from torch.testing._internal.two_tensor import TwoTensor

    def step() -> None:
        two = TwoTensor(torch.ones(4), torch.ones(4))
        (two * 2).sum()
        torch.empty(4, device="meta") * 2
        nested = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged)
        (nested * 2).sum()
        sparse = torch.eye(3).to_sparse()
        torch.sparse.mm(sparse, torch.ones(3, 3))
        torch.eye(3).to_sparse_csr() @ torch.ones(3)
        torch.ones(4).to(torch.float8_e4m3fn).to(torch.float32)
        torch.ones(4).to(torch.bfloat16).to(torch.float64)
        torch.func.vmap(torch.sin)(torch.ones(3, 2))
        torch.func.grad(lambda v: v.sin().sum())(torch.ones(3))
        torch.quantize_per_tensor(torch.ones(4), 0.1, 0, torch.quint8).dequantize()
        torch.ones(2, dtype=torch.complex64).conj() * 2
        with torch.inference_mode():
            torch.ones(3) * 2
        with torch._subclasses.FakeTensorMode():
            torch.ones(3) * 2

    traced = trace_step(step)
    assert traced.error is None
    assert any("Tensor operands (meta" in text for text in traced.trace.unseen)
    assert [call for call in traced.trace.calls if call.born] == []


def test_a_bad_value_inside_a_wrapper_is_found() -> None:
    from torch.testing._internal.two_tensor import TwoTensor

    def step() -> None:
        two = TwoTensor(torch.zeros(4), torch.zeros(4))
        torch.log(two).sum()

    assert [call.kind for call in trace_step(step).trace.calls if call.born] == ["log"]


def test_higher_order_operators_pass() -> None:
    from torch.nn.attention.flex_attention import flex_attention

    q = torch.rand(1, 1, 16, 16)

    def step() -> torch.Tensor:
        return flex_attention(q, q, q)

    with torch.compiler.set_stance("force_eager"):
        traced = trace_step(step)
    assert traced.error is None, traced.error
    assert torch.allclose(traced.result, flex_attention(q, q, q))


def test_a_compiled_model_under_the_stance() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    compiled = torch.compile(net, backend="aot_eager")
    x = torch.rand(8, 4)
    compiled(x).sum().backward()
    x[3] = float("nan")

    def step() -> None:
        compiled(x).sum().backward()

    with torch.compiler.set_stance("force_eager"):
        origin = trace_step(step, [net], {"x": x}).origin().origin
    assert origin is not None
    assert (origin.phase, origin.samples) == ("data", (3,))


def test_what_it_costs(capsys: pytest.CaptureFixture[str]) -> None:
    """Printed, not judged: a trace is made once, after a failure."""
    mlp = nn.Sequential(*(layer for _ in range(20) for layer in (nn.Linear(64, 64), nn.ReLU())), nn.Linear(64, 3))
    cnn = nn.Sequential(
        nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 32, 3), nn.ReLU(), nn.Flatten(), nn.Linear(18432, 3)
    )
    y = torch.randint(3, (32,))

    def measure(name: str, net: nn.Module, x: torch.Tensor) -> None:
        optimizer = torch.optim.AdamW(net.parameters())

        def step() -> None:
            optimizer.zero_grad()
            F.cross_entropy(net(x), y).backward()
            optimizer.step()

        def cost(run) -> float:
            times = []
            for _ in range(5):
                begin = time.process_time()
                run()
                times.append(time.process_time() - begin)
            return sorted(times)[2]

        bare = cost(step)
        healthy = cost(lambda: trace_step(step, [net], {"x": x, "y": y}, [optimizer]))
        x[0] = float("nan")
        spoiled = cost(lambda: trace_step(step, [net], {"x": x, "y": y}, [optimizer]))
        with capsys.disabled():
            ratios = f"traced {healthy / bare:.1f}x, traced with NaN {spoiled / bare:.1f}x"
            print(f"\n{name}: bare {bare * 1e3:.1f} ms, {ratios}")
        assert bare > 0

    measure("mlp", mlp, torch.rand(32, 64))
    measure("cnn", cnn, torch.rand(32, 1, 28, 28))
