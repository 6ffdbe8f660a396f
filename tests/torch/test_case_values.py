"""Values of a stored step come back as they were: from JSON and tensors, and never through pickle."""

from __future__ import annotations

import collections
import dataclasses
import json
import math
import random
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from stayfinite.frameworks.torch.stored.reading import StoredValues
from stayfinite.frameworks.torch.stored.writing import CaseValues, is_opaque

Pair = collections.namedtuple("Pair", "left right")


@dataclasses.dataclass
class Batch:
    x: Any
    names: list[str]


@dataclasses.dataclass(frozen=True)
class Frozen:
    x: Any


class Slotted:
    __slots__ = ("a", "b")


def slotted() -> Slotted:
    made = Slotted()
    made.a, made.b = 1, torch.ones(2)
    return made


def through_files(value: Any, folder: Path, before: Any = ..., *, fill: bool = False) -> Any:
    """`value` written and read again through both files."""
    written = CaseValues({}, {})
    layout = json.loads(json.dumps(written.write(value, "v"), allow_nan=False))
    save_file(written.tensors, folder / "t")
    return StoredValues(load_file(folder / "t")).value(layout, before, fill=fill)


def same(one: Any, other: Any) -> bool:
    """Equal in type and content, bit for bit; NaN equals NaN."""
    if type(one) is not type(other):
        return False
    if isinstance(one, torch.Tensor):
        if one.is_sparse:
            one, other = one.coalesce(), other.coalesce()
            parts = ((one.indices(), other.indices()), (one.values(), other.values()))
            return one.shape == other.shape and all(same(*pair) for pair in parts)
        plain = [torch.view_as_real(t.resolve_conj()) if t.is_complex() else t for t in (one.detach(), other.detach())]
        bits = [t.contiguous().reshape(-1).view(torch.uint8) for t in plain]
        kinds = [(t.shape, t.dtype, t.requires_grad) for t in (one, other)]
        return kinds[0] == kinds[1] and torch.equal(*bits)
    if isinstance(one, numpy.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    if isinstance(one, float):
        return one.hex() == other.hex()
    if isinstance(one, complex):
        return same(one.real, other.real) and same(one.imag, other.imag)
    if isinstance(one, dict):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one.items(), other.items(), strict=True))
    if isinstance(one, (list, tuple, collections.deque)):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, (Batch, Frozen)):
        return same(vars(one), vars(other))
    return bool(one == other)


tensors = st.builds(
    lambda shape, dtype, seed: torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype),
    st.lists(st.integers(0, 4), max_size=4),
    st.sampled_from([torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool,
                     torch.complex64, torch.complex128, torch.uint16, torch.float8_e5m2]),
    st.integers(0, 10**6),
)
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
leaves = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), words,
    st.binary(max_size=8), st.complex_numbers(), tensors, st.builds(range, st.integers(-9, 9), st.integers(-9, 9)),
    st.sampled_from([torch.float16, torch.device("cpu"), torch.Size([2, 3]), slice(1, None, 2), numpy.float32(1.5)]),
)
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.lists(inner, max_size=4).map(tuple), st.builds(Pair, inner, inner),
        st.dictionaries(st.one_of(words, st.integers()), inner, max_size=4),
        st.builds(Batch, inner, st.just(["a"])), st.builds(Frozen, inner),
        st.lists(inner, max_size=4).map(lambda items: collections.deque(items, 9)),
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(value=values)
def test_values_come_back(value: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert same(through_files(value, tmp_path_factory.mktemp("v")), value)


SPECIAL = {
    "nan": math.nan,
    "-0.0": -0.0,
    "a long list of floats": [0.1 * n for n in range(1000)] + [math.inf, math.nan],
    "a long tuple of integers": tuple(range(-50, 2000)),
    "a long list with a large integer": [*range(100), 2**80],
    "a long list of mixed numbers": [1, 2.0] * 50,
    "strings in an array": numpy.array(["a", "bcd"]),
    "dates": numpy.array(["2024-01-01"], dtype="datetime64[D]"),
    "big-endian": numpy.arange(3, dtype=">i4"),
    "an empty array": numpy.empty((0, 3), dtype="u4"),
    "a number of no dimension": numpy.array(3.5),
    "a leaf that wants a gradient": torch.ones(2, requires_grad=True),
    "a sparse tensor": torch.tensor([[0.0, 2.0], [0.0, 0.0]]).to_sparse(),
    "a transposed tensor": torch.arange(6.0).reshape(2, 3).T,
    "an ordered dictionary": collections.OrderedDict(b=1, a=2),
    "a counter": collections.Counter("abca"),
    "a set": {1, 2, "x"},
    "a frozen set": frozenset({1}),
    "a byte array": bytearray(b"\0\xff"),
    "nested dataclasses": Batch(Frozen(Pair(torch.ones(1), 2)), ["a"]),
}


@pytest.mark.parametrize("name", SPECIAL)
def test_special_values_come_back(name: str, tmp_path: Path) -> None:
    assert same(through_files(SPECIAL[name], tmp_path), SPECIAL[name])


def test_memory_format_comes_back(tmp_path: Path) -> None:
    value = torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    found = through_files(value, tmp_path)
    assert found.is_contiguous(memory_format=torch.channels_last) and torch.equal(found, value)


def test_slots_come_back(tmp_path: Path) -> None:
    found = through_files(slotted(), tmp_path)
    assert isinstance(found, Slotted) and found.a == 1 and torch.equal(found.b, torch.ones(2))


def test_one_object_under_two_names_is_one_object(tmp_path: Path) -> None:
    shared = torch.ones(3)
    found = through_files({"a": shared, "b": [shared]}, tmp_path)
    assert found["a"] is found["b"][0]


@pytest.mark.parametrize(
    "value",
    [open, lambda: 0, torch.nn.Linear(1, 1), iter([1]), "\ud800", numpy.array([object()]), ValueError("x"), ...],
)
def test_what_has_no_plain_form_is_said_to_have_none(value: Any) -> None:
    assert is_opaque(CaseValues({}, {}).write(value, "v"))


def test_a_list_that_holds_itself_ends() -> None:
    value: list[Any] = [1]
    value.append(value)
    written = CaseValues({}, {}).write(value, "v")
    assert written["value"][0] == 1 and is_opaque(written["value"][1])


def test_generators_go_on_where_they_were(tmp_path: Path) -> None:
    states: list[tuple[Any, Any]] = []
    python = random.Random(3)
    for kind in ("PCG64", "MT19937", "Philox", "SFC64"):
        generator = numpy.random.Generator(getattr(numpy.random, kind)(5))
        generator.random(7)
        states.append((generator, through_files(generator.bit_generator.state, tmp_path)))
    expected = [(python.getstate(), python.random())]
    for generator, state in states:
        first = generator.random(5).tolist()
        generator.bit_generator.state = state
        assert generator.random(5).tolist() == first
    for state, drawn in expected:
        python.setstate(through_files(state, tmp_path))
        assert python.random() == drawn


class TestInPlace:
    """With `fill`, those who hold the object see the change."""

    def test_tensors_and_arrays(self, tmp_path: Path) -> None:
        for value, before in ((torch.ones(3), torch.zeros(3)), (numpy.ones(3), numpy.zeros(3))):
            assert through_files(value, tmp_path, before, fill=True) is before
            assert same(before, value)

    def test_another_shape_makes_another_tensor(self, tmp_path: Path) -> None:
        before = torch.zeros(2)
        found = through_files(torch.ones(3), tmp_path, before, fill=True)
        assert found is not before and same(found, torch.ones(3)) and same(before, torch.zeros(2))

    def test_containers(self, tmp_path: Path) -> None:
        for value, before in (
            ([1, 2], [3]), ({"a": 1}, {"b": 2}), ({1}, {2, 3}), (collections.deque([1]), collections.deque([4, 5])),
            (collections.defaultdict(list, a=[1]), collections.defaultdict(list)),
        ):
            assert through_files(value, tmp_path, before, fill=True) is before
            assert before == value

    def test_what_was_not_written_is_taken_from_what_is_there(self, tmp_path: Path) -> None:
        model = torch.nn.Linear(1, 1)
        found = through_files([torch.nn.Linear(2, 2), 5], tmp_path, [model, 4], fill=True)
        assert found == [model, 5]

    def test_without_it_nothing_is_made_up(self, tmp_path: Path) -> None:
        assert through_files([torch.nn.Linear(2, 2), 5], tmp_path) is ...


def test_classes_are_not_imported_and_finalizers_refused() -> None:
    values = StoredValues({})
    for name in ("xmlrpc.client:Binary", "tempfile:_TemporaryFileCloser", "nowhere:Nothing"):
        assert values.value({"kind": "object", "type": name, "value": {}}) is ...


def test_an_unknown_kind_is_an_error() -> None:
    with pytest.raises(LookupError, match="later"):
        StoredValues({}).value({"kind": "later"})


def test_a_device_that_is_not_here_is_the_processor() -> None:
    stored = {"kind": "tensor", "value": "t", "device": "cuda:0"}
    found = StoredValues({"t": torch.ones(2)}).value(stored)
    assert found.device.type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert found.tolist() == [1.0, 1.0]
