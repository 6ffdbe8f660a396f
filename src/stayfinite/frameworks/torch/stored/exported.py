"""Runs a stored step once, in a script that `stayfinite replay --export` wrote.

Imports nothing of stayfinite: the text of this class, with those it builds on, is written into the exported script.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Iterator
from typing import Any, Self

import torch

from stayfinite.frameworks.torch.stored.step import StoredStep


class FailingStep(StoredStep):
    """The step, in place of the loop it belongs to: ``with failing_step.at(locals()): for names in failing_step: ...``.

    Leaving the block prints what came of the step and ends the process: exit code 1 if it failed, 0 if it did not, 2 if
    the stored state does not fit the script.
    """

    def __init__(self, file: str) -> None:
        from safetensors import safe_open

        with safe_open(file, "pt") as content:
            layout = json.loads(content.metadata()["case"])
            tensors = {key: content.get_tensor(key) for key in content.keys()}
        super().__init__(layout, tensors)
        self._items: list[Any] | None = None
        self._losses: list[float] = []
        self._norms: list[float] = []
        self._bad_gradients: list[str] = []
        self._updates = 0
        self._hidden: list[Any] = []
        self._hear_norms()

    def at(self, names: dict[str, Any]) -> Self:
        """Give the script the stored state; `names` are those of the frame that trains."""
        different = self.resolve(names)
        if different:
            print("the stored state does not fit this script:", *different, sep="\n  ", file=sys.stderr)
            self._end(2)
        self.restore()
        self._listen()
        return self

    def __getitem__(self, name: str) -> Any:
        return self.frame_names[name]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for number in range(len(self.layout["passes"])):
            self.restore_pass(number)
            self._items = self.items(number)
            yield self.names(number)
        self._items = None

    def next(self, iterator: Any, *default: Any) -> Any:
        """`next` of the script: in the step, what it returned then."""
        if self._items is None:
            return next(iterator, *default)
        kind, value = self._items.pop(0)
        if kind == "error":
            raise value
        return value

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is not None:
            traceback.print_exception(error)
        self._end(1 if self._report(error, sys._getframe(1).f_locals) else 0)

    def _hear_norms(self) -> None:
        """Note what the script clips by: an infinite norm of finite gradients makes zeros of them all, and is gone then.
        This is before the script's imports, so it is heard under whatever name the script has for it."""
        original = torch.nn.utils.clip_grad_norm_

        def clip_grad_norm_(*args: Any, **kwargs: Any) -> Any:
            norm = original(*args, **kwargs)
            self._norms.append(float(norm))
            return norm

        torch.nn.utils.clip_grad_norm_ = torch.nn.utils.clip_grad.clip_grad_norm_ = clip_grad_norm_

    def _listen(self) -> None:
        original = torch.autograd.backward

        def backward(tensors: Any, *args: Any, **kwargs: Any) -> Any:
            for root in [tensors] if isinstance(tensors, torch.Tensor) else tensors:
                self._losses.append(float(root.detach().abs().sum() if root.numel() > 1 else root.detach()))
            return original(tensors, *args, **kwargs)

        torch.autograd.backward = backward
        from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

        register_optimizer_step_pre_hook(self._before_step)
        register_optimizer_step_post_hook(self._after_step)

    def _before_step(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        """Updates that the live run had already taken in this step are part of the stored state: they do nothing."""
        self._updates += 1
        if self.layout["void"] and self._updates <= self.layout["asked"]:
            parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            self._hidden = [(parameter, parameter.grad) for parameter in parameters]
            for parameter in parameters:
                parameter.grad = None
        else:
            self._look_at_gradients()

    def _after_step(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        for parameter, gradient in self._hidden:
            parameter.grad = gradient
        self._hidden = []

    def _look_at_gradients(self) -> None:
        self._bad_gradients = self._nonfinite(self._named("parameters", [p.grad for p in self.parameters]))

    @staticmethod
    def _nonfinite(named: list[tuple[str, Any]]) -> list[str]:
        """The names of those tensors, or of none where there is none, that are not finite throughout."""
        bad = []
        for name, tensor in named:
            values = tensor.coalesce().values() if tensor is not None and tensor.is_sparse else tensor
            if values is not None and not bool(torch.isfinite(values).all()):
                bad.append(name)
        return bad

    def _named(self, what: str, tensors: list[Any]) -> list[tuple[str, Any]]:
        """`tensors` with the names that the layout has for them; `what`: parameters or buffers."""
        return [(record["name"], tensor) for record, tensor in zip(self.layout[what], tensors, strict=True)]

    def _moments(self) -> list[tuple[str, Any]]:
        """What the optimizers remember of each parameter, as ("exp_avg of fc.weight", its values)."""
        named = {id(tensor): name for name, tensor in self._named("parameters", self.parameters)}
        return [
            (f"{key} of {named.get(id(parameter), 'a parameter')}", value)
            for optimizer in self.optimizers
            for parameter, state in optimizer.state.items()
            for key, value in state.items()
            if isinstance(value, torch.Tensor) and value.is_floating_point()
        ]

    def _report(self, error: BaseException | None, names: dict[str, Any]) -> bool:
        """Print what came of the step; true if it failed."""
        if not self._bad_gradients:
            self._look_at_gradients()
        losses = list(self._losses)
        for name in self.layout["failure"]["names"] if self.layout["failure"]["at"] == "end" else ():
            value = names.get(name)
            value = value.detach() if isinstance(value, torch.Tensor) and value.numel() == 1 else value
            if isinstance(value, (float, torch.Tensor)):
                losses.append(float(value))  # the script's own test looked at it, before it was differentiated
        parameters = self._nonfinite(self._named("parameters", self.parameters))
        # what the script updates by hand may be bound to its name anew, and is no parameter of anything
        bound = [(name, names.get(name)) for name in self.layout["failure"]["names"] if name not in parameters]
        parameters += self._nonfinite([one for one in bound if isinstance(one[1], torch.Tensor) and one[1].numel() > 1])
        buffers = self._nonfinite(self._named("buffers", self.buffers))
        moments = self._moments()
        bad_moments = self._nonfinite(moments)
        print("loss:", ", ".join(map(str, losses)) or "none was differentiated")
        if self._norms:
            print("gradient norm before clipping:", ", ".join(map(str, self._norms)))
        for what, bad, of in (
            ("gradients", self._bad_gradients, self.parameters),
            ("parameters after the step", parameters, self.parameters),
            ("buffers after the step", buffers, self.buffers),
            ("moments after the step", bad_moments, moments),
        ):
            print(f"{what} with NaN or infinity: {len(bad)} of {len(of)}", *bad[:20], sep="\n  ")
        finite = all(value - value == 0 for value in (*losses, *self._norms))
        failed = not finite or bool(self._bad_gradients or parameters or buffers or bad_moments) or error is not None
        print("the step still fails" if failed else "the step does not fail")
        for note in dict.fromkeys(self.notes):
            print(" ", note)
        return failed

    @staticmethod
    def _end(code: int) -> None:
        """The rest of the script must not run: not its loop, nor what it saves at its end."""
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
