"""Parameters, buffers, optimizers, schedulers and scalers as a stored case holds them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from stayfinite.frameworks.torch import hold
from stayfinite.frameworks.torch.stored.disk import CaseNotKept
from stayfinite.frameworks.torch.stored.places import Places
from stayfinite.frameworks.torch.stored.writing import CaseValues, is_opaque
from stayfinite.frameworks.torch.subjects import Subjects


class CaseSubjects:
    """What of a block's subjects goes into its case.

    A script may have trained before, with optimizers that are still alive and have no part in this step: those that no
    name leads to, that took no update of the window (`stepped`) and hold nothing of the modules are left out, with the
    parameters that only they have.
    """

    def __init__(self, subjects: Subjects, places: Places, stepped: Iterable[Optimizer]) -> None:
        self.names = {**subjects.parameter_names, **subjects.buffer_names}
        self.roots = [root for root in subjects.roots if id(root) in places.paths]
        self.buffers = subjects.buffers
        self.schedulers = [scheduler for scheduler in subjects.schedulers if id(scheduler) in places.paths]
        self.scalers = [scaler for scaler in subjects.scalers if id(scaler) in places.paths]
        inside = {id(parameter) for root in self.roots for parameter in root.parameters()}
        took_part = {id(optimizer) for optimizer in stepped}
        self.optimizers = [
            o for o in subjects.optimizers
            if id(o) in places.paths or id(o) in took_part or not inside.isdisjoint(_parameter_ids(o))
        ]
        known = inside.union(*map(_parameter_ids, self.optimizers))
        self.parameters = [p for p in subjects.parameters if id(p) in known or id(p) in places.paths]

    def references(self) -> dict[int, Any]:
        """Values that stand for parameters and buffers, by identity: `w = model.weight` makes no copy of it."""
        known: dict[int, Any] = {id(b): {"kind": "buffer", "value": n} for n, b in enumerate(self.buffers)}
        return known | {id(p): {"kind": "parameter", "value": n} for n, p in enumerate(self.parameters)}

    @property
    def nbytes(self) -> int:
        """Bytes of parameters, their gradients, buffers and moments."""
        moments = [value for optimizer in self.optimizers for _, value in hold.state_tensors(optimizer)]
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        return sum(t.nbytes for t in (*self.parameters, *gradients, *self.buffers, *moments) if not t.is_sparse)


def _parameter_ids(optimizer: Optimizer) -> set[int]:
    return {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}


def write_state(values: CaseValues, subjects: CaseSubjects, places: Places, made: list[Optimizer]) -> dict[str, Any]:
    """The sections `modules`, `parameters`, `buffers`, `optimizers`, `scalers`, and the schedulers as `places`.

    **Raises**: `CaseNotKept` if no name leads to a parameter or buffer.
    """
    parameters = []
    inside: dict[int, tuple[int, str]] = {}
    for number, root in enumerate(subjects.roots):
        for at, tensor in (*root.named_parameters(), *root.named_buffers()):
            inside.setdefault(id(tensor), (number, at))
    for tensor in subjects.parameters:
        record = _tensor_record(values, "parameter", subjects.names[id(tensor)], tensor, inside, places)
        if not record.keys() & {"module", "path"}:
            record |= _in_optimizer(record["name"], tensor, subjects.optimizers)
        record["requires_grad"] = tensor.requires_grad
        name = record["name"]
        record["gradient"] = None if tensor.grad is None else _write_alone(values, tensor.grad, f"gradient.{name}")
        parameters.append(record)
    buffers = []
    for tensor in subjects.buffers:
        record = _tensor_record(values, "buffer", subjects.names[id(tensor)], tensor, inside, places)
        if "module" not in record:
            raise CaseNotKept(f"no name leads to the buffer {record['name']}")
        buffers.append(record)
    return {
        "modules": [{"path": places.paths[id(root)], "type": type(root).__name__} for root in subjects.roots],
        "parameters": parameters,
        "buffers": buffers,
        "optimizers": [_optimizer(values, number, o, places, made) for number, o in enumerate(subjects.optimizers)],
        "scalers": [
            {"path": places.paths[id(s)], "scale": float(s.get_scale()), "growth": int(s._get_growth_tracker())}
            for s in subjects.scalers
        ],
        "places": [_scheduler(values, scheduler, places) for scheduler in subjects.schedulers],
    }


def _tensor_record(
    values: CaseValues, what: str, name: str, tensor: Tensor, inside: dict[int, tuple[int, str]], places: Places
) -> dict[str, Any]:
    dtype = str(tensor.dtype).removeprefix("torch.")
    record: dict[str, Any] = {"name": name, "shape": list(tensor.shape), "dtype": dtype}
    if id(tensor) in inside:
        record["module"], record["at"] = inside[id(tensor)]
    elif id(tensor) in places.paths:
        record["path"] = places.paths[id(tensor)]
    record["value"] = _write_alone(values, tensor, f"{what}.{name}")
    return record


def _write_alone(values: CaseValues, tensor: Tensor, hint: str) -> Any:
    """`tensor` itself, not a reference to it."""
    return values.write(tensor.detach(), hint)


def _in_optimizer(name: str, tensor: Tensor, optimizers: list[Optimizer]) -> dict[str, Any]:
    for number, optimizer in enumerate(optimizers):
        for group_number, group in enumerate(optimizer.param_groups):
            for index, parameter in enumerate(group["params"]):
                if parameter is tensor:
                    return {"optimizer": number, "group": group_number, "index": index}
    raise CaseNotKept(f"no name leads to the parameter {name}")


def _optimizer(
    values: CaseValues, number: int, optimizer: Optimizer, places: Places, made: list[Optimizer]
) -> dict[str, Any]:
    positions = {
        id(parameter): (group_number, index)
        for group_number, group in enumerate(optimizer.param_groups) for index, parameter in enumerate(group["params"])
    }
    state = []
    for parameter, kept in optimizer.state.items():
        if id(parameter) in positions and isinstance(kept, dict):
            group_number, index = positions[id(parameter)]
            hint = f"optimizer.{number}.{group_number}.{index}"
            written = {str(key): values.write(value, f"{hint}.{key}") for key, value in kept.items()}
            state.append([group_number, index, {key: value for key, value in written.items() if not is_opaque(value)}])
    groups = []
    for group_number, group in enumerate(optimizer.param_groups):
        hint = f"optimizer.{number}.{group_number}"
        written = {key: values.write(value, f"{hint}.{key}") for key, value in group.items() if key != "params"}
        groups.append({key: value for key, value in written.items() if not is_opaque(value)})
    attributes = {k: v for k, v in vars(optimizer).items() if type(v) in (int, float, bool, str, type(None))}
    return {
        "path": places.paths.get(id(optimizer)),
        "made": next((n for n, one in enumerate(made) if one is optimizer), 0),
        "type": type(optimizer).__name__,
        "sizes": [len(group["params"]) for group in optimizer.param_groups],
        "state": state,
        "groups": groups,
        "attributes": {key: values.write(value, f"optimizer.{number}.{key}") for key, value in attributes.items()},
    }


def _scheduler(values: CaseValues, scheduler: Any, places: Places) -> dict[str, Any]:
    own = {key: value for key, value in vars(scheduler).items() if key != "optimizer"}
    written = {key: values.write(value, f"scheduler.{key}") for key, value in own.items()}
    kept = {key: value for key, value in written.items() if not is_opaque(value)}
    return {"path": places.paths[id(scheduler)], "attributes": kept}
