"""A step that was stored: puts its tensors, names and generators back into a process that runs the same script.

This module and `stored_values` import nothing of stayfinite: `stayfinite replay --export` writes their text into the
exported script, so both ways of repeating a step restore it with the same code. `case_values` and `case_places` write
what is read here.
"""

from __future__ import annotations

import importlib
import random
import sys
from typing import Any

import torch

from stayfinite.frameworks.torch.stored.reading import StoredValues


class StoredStep(StoredValues):
    """A stored step.

    **Arguments**: `layout`, the decoded ``case.json``; `tensors`, the content of ``case.safetensors`` by key.

    `resolve` finds the script's objects and says what is different about them; `restore` gives them the stored state.
    `notes` says in words what could not be put back; `rebound` holds the names of the frame that must be bound anew.
    """

    def __init__(self, layout: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        super().__init__(tensors)
        self.layout = layout
        self.notes: list[str] = []
        self.rebound: dict[str, Any] = {}
        self.modules: list[Any] = []
        self.optimizers: list[Any] = []

    def assign(self, path: list[Any], value: Any) -> None:
        """Bind what is at `path` to `value`. Names of the frame are only remembered, in `rebound`."""
        if len(path) == 1:
            scope, *where = path[0]
            if scope == "module":
                sys.modules[where[0]].__dict__[where[1]] = value
            else:
                self.rebound[where[0]] = self.frame_names[where[0]] = value
            return
        owner = self.lookup(path[:-1], self.frame_names)
        kind, key = path[-1]
        if kind == "attr":
            if isinstance(getattr(owner, "__dict__", None), dict) and not isinstance(owner, torch.nn.Module):
                owner.__dict__[key] = value  # properties and setters of the user's own are not called
            else:
                setattr(owner, key, value)
        elif kind == "item":
            owner[key] = value
        else:
            owner.__closure__[owner.__code__.co_freevars.index(key)].cell_contents = value

    # -- whether it fits -----------------------------------------------------------------------------------------

    def resolve(self, names: dict[str, Any], made: list[Any] | None = None) -> list[str]:
        """Find the modules, optimizers and parameters of the step.

        **Arguments**: `names` of the step's frame; `made`, the optimizers of the process in the order they were made.

        **Returns** one sentence for each thing that differs from what was stored; empty if the state fits.
        """
        self.frame_names = dict(names)
        self.rebound.clear()
        different: list[str] = []
        self.modules = [self._find(record, different) for record in self.layout["modules"]]
        self.optimizers = []
        for record in self.layout["optimizers"]:
            if record["path"] is None:
                hidden = made or []
                found = hidden[record["made"]] if record["made"] < len(hidden) else None
                if found is None:
                    different.append(f"the {record['type']} that no name leads to was not made")
                self.optimizers.append(found)
            else:
                self.optimizers.append(self._find(record, different))
        for what, records in (("parameter", self.layout["parameters"]), ("buffer", self.layout["buffers"])):
            self._compare(what, records, different)
        for record, optimizer in zip(self.layout["optimizers"], self.optimizers, strict=True):
            if optimizer is not None:
                sizes = [len(group["params"]) for group in optimizer.param_groups]
                if sizes != record["sizes"]:
                    different.append(
                        f"{record['type']} has groups of {sizes} parameters here, {record['sizes']} in the recording"
                    )
        if not different:
            self.parameters = [self._parameter(record) for record in self.layout["parameters"]]
            records = self.layout["buffers"]
            self.buffers = [self._tensors_of("buffer", record["module"])[record["at"]] for record in records]
        return different

    def _find(self, record: dict[str, Any], different: list[str]) -> Any:
        try:
            found = self.lookup(record["path"], self.frame_names)
        except (LookupError, AttributeError, TypeError):
            different.append(f"`{self.shown(record['path'])}` ({record['type']}) is not there")
            return None
        if type(found).__name__ != record["type"]:
            here = f"is of class {type(found).__name__} here, {record['type']} in the recording"
            different.append(f"`{self.shown(record['path'])}` {here}")
            return None
        return found

    def _tensors_of(self, what: str, index: int) -> dict[str, Any]:
        module = self.modules[index]
        if what == "buffer":
            return dict(module.named_buffers(remove_duplicate=False))
        return dict(module.named_parameters(remove_duplicate=False))

    def _compare(self, what: str, records: list[dict[str, Any]], different: list[str]) -> None:
        for index, module in enumerate(self.modules):
            if module is None:
                continue
            mine = {record["at"]: record for record in records if record.get("module") == index}
            here = self._tensors_of(what, index)
            for at, record in mine.items():
                if at not in here:
                    different.append(f"{what} {record['name']} is not in the script's {type(module).__name__}")
                else:
                    self._compare_one(what, record, here[at], different)
            shared = {id(here[at]) for at in mine if at in here}
            for at, tensor in here.items():
                if at not in mine and id(tensor) not in shared:
                    different.append(f"{what} {at} of {type(module).__name__} is not in the recording")
        for record in records:
            if "module" not in record:
                try:
                    self._compare_one(what, record, self._parameter(record), different)
                except (LookupError, AttributeError, TypeError):
                    different.append(f"{what} {record['name']} is not there")

    @staticmethod
    def _compare_one(what: str, record: dict[str, Any], here: Any, different: list[str]) -> None:
        try:
            shape, dtype = list(here.shape), str(here.dtype).removeprefix("torch.")
        except (AttributeError, RuntimeError):  # no tensor, or a lazy one that no data has shaped yet
            different.append(f"{what} {record['name']} is a {type(here).__name__} here, without a shape")
            return
        for word, mine, its in (("shape", shape, record["shape"]), ("type", dtype, record["dtype"])):
            if mine != its:
                different.append(f"{what} {record['name']} has {word} {mine} here, {its} in the recording")

    def _parameter(self, record: dict[str, Any]) -> Any:
        if "module" in record:
            return self._tensors_of("parameter", record["module"])[record["at"]]
        if record.get("path") is not None:
            return self.lookup(record["path"], self.frame_names)
        return self.optimizers[record["optimizer"]].param_groups[record["group"]]["params"][record["index"]]

    # -- putting it back -----------------------------------------------------------------------------------------

    def restore(self) -> None:
        """Give what `resolve` found the state it had when the step began. Names of the frame come into `rebound`."""
        with torch.no_grad():
            for record, tensor in zip(self.layout["parameters"], self.parameters, strict=True):
                self._fill(tensor.detach(), record["value"])
                if tensor.is_leaf and tensor.requires_grad != record["requires_grad"]:
                    tensor.requires_grad_(record["requires_grad"])
                tensor.grad = None if record["gradient"] is None else self.value(record["gradient"]).to(tensor.device)
            for record, tensor in zip(self.layout["buffers"], self.buffers, strict=True):
                self._fill(tensor.detach(), record["value"])
            for record, optimizer in zip(self.layout["optimizers"], self.optimizers, strict=True):
                self._restore_optimizer(record, optimizer)
            for record in self.layout["scalers"]:
                self._restore_scaler(record)
        for place in self.layout["places"]:
            self._restore_place(place)

    def restore_pass(self, number: int) -> None:
        """Give generators, and what changes from pass to pass, the state they had when pass `number` began."""
        stored = self.layout["passes"][number]
        for place in stored["places"]:
            self._restore_place(place)
        for record in stored["own_generators"]:
            self._restore_generator(record)
        for record in stored["files"]:
            try:
                self.lookup(record["path"], self.frame_names).seek(record["position"])
            except (LookupError, AttributeError, TypeError, OSError, ValueError) as error:
                self.notes.append(f"the place in file `{self.shown(record['path'])}`: {error}")
        process = stored["generators"]
        torch.set_rng_state(self.value(process["torch"]))
        random.setstate(self.value(process["python"]))
        if process["numpy"] is not None:
            importlib.import_module("numpy.random").set_state(self.value(process["numpy"]))
        if process["cuda"] is not None and torch.cuda.is_available():
            states = self.value(process["cuda"])[: torch.cuda.device_count()]
            for device, state in enumerate(states):
                torch.cuda.set_rng_state(state, device)

    def names(self, number: int) -> dict[str, Any]:
        """The names that pass `number` must find bound."""
        found = {}
        for name, value in self.layout["passes"][number]["names"].items():
            made = self.value(value, self.frame_names.get(name, ...))
            if made is ...:
                self._note(f"`{name}`", value)
            else:
                found[name] = made
        return found

    def items(self, number: int) -> list[Any]:
        """What `next` returned in pass `number`, in order, as ("item", value) or ("error", StopIteration())."""
        stored = self.layout["passes"][number]["items"]
        return [("error", StopIteration()) if value is None else ("item", self.value(value[0])) for value in stored]

    def _note(self, what: str, value: dict[str, Any]) -> None:
        self.notes.append(f"{what} could not be stored ({value.get('type', 'no plain value')})")

    def _fill(self, tensor: torch.Tensor, value: dict[str, Any]) -> None:
        tensor.copy_(self._tensor(value).to(tensor.device))

    def _restore_optimizer(self, record: dict[str, Any], optimizer: Any) -> None:
        optimizer.state.clear()
        for group, index, values in record["state"]:
            parameter = optimizer.param_groups[group]["params"][index]
            optimizer.state[parameter] = {key: self._near(self.value(v), parameter) for key, v in values.items()}
        for group, values in zip(optimizer.param_groups, record["groups"], strict=True):
            for key, value in values.items():
                made = self.value(value, group.get(key, ...), fill=True)
                if made is not ...:
                    group[key] = made
        for key, value in record["attributes"].items():
            setattr(optimizer, key, self.value(value))

    @staticmethod
    def _near(value: Any, parameter: torch.Tensor) -> Any:
        """Moments live where their parameter does, if they lived on a device."""
        if isinstance(value, torch.Tensor) and value.device.type != "cpu":
            return value.to(parameter.device)
        return value

    def _restore_scaler(self, record: dict[str, Any]) -> None:
        scaler = self.lookup(record["path"], self.frame_names)
        for name, key in (("_scale", "scale"), ("_growth_tracker", "growth")):
            if getattr(scaler, name) is None:
                setattr(scaler, f"_init{name}", record[key])
            else:
                getattr(scaler, name).fill_(record[key])

    def _restore_generator(self, record: dict[str, Any]) -> None:
        try:
            generator = self.lookup(record["path"], self.frame_names)
        except (LookupError, AttributeError, TypeError):
            self.notes.append(f"generator `{self.shown(record['path'])}` is not there")
            return
        state = self.value(record["state"])
        if record["type"] == "numpy":
            generator.bit_generator.state = state
        elif record["type"] == "python":
            generator.setstate(state)
        else:
            generator.set_state(state)

    def _restore_place(self, place: dict[str, Any]) -> None:
        """One place: a name, an item, or several attributes of one owner. What is equal already is not touched."""
        values = [([*place["path"], ["attr", name]], value) for name, value in place.get("attributes", {}).items()]
        if "value" in place:
            values.append((place["path"], place["value"]))
        for path, value in values:
            try:
                try:
                    before = self.lookup(path, self.frame_names)
                except (LookupError, AttributeError):
                    before = ...
                made = self.value(value, before, fill=True)
                if made is ...:
                    self._note(f"`{self.shown(path)}`", value)
                elif made is not before and not self._same(made, before):
                    self.assign(path, made)
            except Exception as error:  # the user's own object may refuse; the rest is still worth restoring
                self.notes.append(f"`{self.shown(path)}` could not be put back: {type(error).__name__}: {error}")

    @staticmethod
    def _same(one: Any, other: Any) -> bool:
        return type(one) is type(other) and isinstance(one, (int, float, str, bytes, bool)) and one == other
