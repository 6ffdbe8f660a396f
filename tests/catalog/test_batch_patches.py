"""Patches where a loop is given its batch, and of labels and whole numbers: word for word."""

from __future__ import annotations

import re

import msgspec
import pytest
from catalog.patching import added, born, marked, proposals
from catalog.writing import stats

from stayfinite.catalog.edits.changes import patched
from stayfinite.catalog.edits.tables import after_table
from stayfinite.catalog.edits.tracing import Project
from stayfinite.records.incident import Case
from stayfinite.records.location import Location
from stayfinite.records.survey import Birth, Making
from stayfinite.records.tensor import TensorStats

HEAD = "import numpy as np\nimport torch\nimport torch.nn.functional as F\nfrom torch import nn\n\n\n"
LOOP = HEAD + "for x, y in loader:\n    loss = «F.mse_loss(net(x), y)»\n    loss.backward()\n    optimizer.step()\n"
NEXT = HEAD + "for step in range(9):\n    x, y = next(batches)\n    loss = «F.mse_loss(net(x), y)»\n    loss.backward()\n"
TABLE = HEAD + "for step in range(9):\n    rows = draw()\n    x, y = table[rows], prices[rows]\n    «F.mse_loss(net(x), y)».backward()\n"
FILLED = "x = torch.where(x.isfinite(), x, x.masked_fill(~x.isfinite(), float('nan')).nanmean(0).nan_to_num(0.0))"


def filled(name: str) -> str:
    return re.sub(r"\bx\b", name, FILLED)


Y = stats("y", (8, 3), min=-1.0, max=1.0)


def of_batch(text: str, op: str, *batch: object, phase: str = "loss", **rest: object) -> tuple[Case, str]:
    plain, place = marked(text)
    return msgspec.structs.replace(born(place, op, *batch, phase=phase), batch=batch, batch_size=8, **rest), plain  # type: ignore[arg-type]


@pytest.mark.parametrize("text", [LOOP, NEXT, TABLE])
def test_gaps_are_filled_or_left_out_where_a_loop_is_given_its_batch(text: str) -> None:
    gaps = stats("x", (8, 3), nan=2, min=-1.0, max=1.0)
    case, plain = of_batch(text, "input", gaps, Y, phase="data")
    case = msgspec.structs.replace(case, origin=msgspec.structs.replace(case.origin, samples=(2,)))
    assert added("fill-missing", case, plain) == [[FILLED]]
    assert added("drop-bad-rows", case, plain) == [["keep = x.reshape(len(x), -1).isfinite().all(1)", "x, y = x[keep], y[keep]"]]


def test_rows_are_left_out_only_where_all_that_belongs_to_them_is_known() -> None:
    gaps = stats("x", (8, 3), nan=2, min=-1.0, max=1.0)
    case, plain = of_batch(LOOP.replace("x, y in", "x, y, names in"), "input", gaps, Y, phase="data")
    assert added("drop-bad-rows", case, plain) == []
    assert added("fill-missing", case, plain) == [[FILLED]]


def test_batches_that_are_dictionaries() -> None:
    text = LOOP.replace("x, y in", "batch in").replace("net(x), y", "net(batch['x']), batch['y']")
    gaps = stats("batch['x']", (8, 3), nan=2, min=-1.0, max=1.0)
    case, plain = of_batch(text, "input", gaps, stats("batch['y']", (8,)), phase="data")
    assert added("fill-missing", case, plain) == [[filled("batch['x']")]]
    assert added("drop-bad-rows", case, plain) == [[
        "keep = batch['x'].reshape(len(batch['x']), -1).isfinite().all(1)",
        "batch = {key: part[keep] for key, part in batch.items()}",
    ]]


KEPT = "rows = rows[maps[rows].reshape(len(maps[rows]), -1).isfinite().all(1)]"


@pytest.mark.parametrize(("table", "loop", "kept"), [
    ("maps = archive()", "for rows in torch.randperm(320).split(20):", KEPT),
    ("maps, depth = archive()", "for start in range(0, 320, 20):\n    rows = order[start : start + 20]",
     KEPT),
])
@pytest.mark.parametrize("name", ["maps", "maps[rows]"])
def test_tables_of_which_rows_are_taken_by_number(table: str, loop: str, kept: str, name: str) -> None:
    gaps = stats(name, (320, 3), nan=2, min=-1.0, max=1.0)
    text = HEAD + f"{table}\n{loop}\n    «F.mse_loss(net(maps[rows]), maps[rows])».backward()\n"
    case, plain = of_batch(text, "input", gaps, phase="data")
    assert added("drop-bad-rows", case, plain) == [[kept]]
    assert added("fill-missing", case, plain) == [[filled("maps")]]


def test_a_table_is_changed_behind_what_writes_into_it() -> None:
    text = "table = torch.randn(9)\nother = 3\ntable[4] *= 2.0**90\nuse(table)\n"
    found = after_table(Project({"train.py": text}), Location("train.py", 1), "{x} = {x}.abs()")
    assert found is not None
    assert found[2][0] is not None and found[2][0].line == 3


@pytest.mark.parametrize(("line", "after"), [
    ("y = x[:, 0].sin()\n", 2),  # the target is computed from the input as it is
    ("wide = x.repeat(1, 2)\ny[3] = x.mean()\n", 3),
    ("y = fetch(box.x, maximum)\n", 1),
    ("wide = x.repeat(1, 2)\n", 1),
])
def test_a_target_is_computed_before_its_input_is_changed(line: str, after: int) -> None:
    text = f"x = torch.randn(9, 3)\n{line}use(x)\n"
    found = after_table(Project({"train.py": text}), Location("train.py", 1), "{x} = {x}.abs()", {"y"})
    assert found is not None
    assert found[2][0] is not None and found[2][0].line == after


def test_a_batch_is_standardised_by_its_own_name_and_not_by_that_of_the_model() -> None:  # `input` in a chain
    raw = stats("x", (8, 3), min=0.0, max=4e5, absmax_index=(2, 1), absmax_count=1, typical_row=2e5)
    case, plain = of_batch(LOOP, "mse", raw, Y)
    given = msgspec.structs.replace(case.trace, model_inputs=(msgspec.structs.replace(raw, name="input"),))
    case = msgspec.structs.replace(case, trace=given)
    assert added("standardise-inputs", case, plain) == [["x = (x - x.mean(0)) / x.std(0, correction=0).clamp(min=1e-6)"]]


@pytest.mark.parametrize(("shape", "expected"), [
    ((8, 1, 28, 28), "x = (x - x.mean()) / x.std(correction=0).clamp(min=1e-6)"),
    ((8, 32, 32, 3), "x = (x - x.mean()) / x.std(correction=0).clamp(min=1e-6)"),
    ((8, 3, 32, 32), "x = (x - x.mean((0, 2, 3), keepdim=True)) / x.std((0, 2, 3), keepdim=True, correction=0).clamp(min=1e-6)"),
])
def test_images_are_standardised_by_channel_and_not_by_pixel(shape: tuple[int, ...], expected: str) -> None:
    case, plain = of_batch(LOOP, "mse", stats("x", shape, min=0.0, max=4095.0), Y)
    assert added("standardise-inputs", case, plain) == [[expected]]


def test_inputs_are_scaled_behind_the_targets_of_the_table() -> None:
    text = "x = torch.linspace(0, 99, 40)[:, None]\ny = x.sqrt()\nfor step in range(9):\n    «F.mse_loss(net(x), y)».backward()\n"
    raw = stats("x", (40, 1), min=0.0, max=99.0)
    root = stats("y", (40, 1), min=0.0, max=9.9)
    case, plain = of_batch(text, "mse", raw, root)
    case = msgspec.structs.replace(case, makings=(Making("batch", "x", "made", Location("train.py", 1)),))
    offers = [one for one in proposals("standardise-inputs", case, {"train.py": plain}) if one.fix is not None]
    after = patched({"train.py": plain}, offers[0].fix)["train.py"].split("\n")  # type: ignore[arg-type]
    assert after[1] == "y = x.sqrt()"
    assert after[2].startswith("x = (x.float() - x.float().mean(0))")


def test_rows_far_larger_than_others_are_left_out_and_not_scaled() -> None:
    far = stats("x", (8, 3), min=-1.0, max=1e20, absmax_index=(2, 1), absmax_count=1, typical_row=1.0)
    case, plain = of_batch(LOOP, "mse", far, Y)
    assert added("drop-bad-rows", case, plain) == [[
        "keep = x.reshape(len(x), -1).abs().amax(1) <= 1e3 * x.reshape(len(x), -1).abs().amax(1).median()",
        "x, y = x[keep], y[keep]",
    ]]
    assert added("standardise-inputs", case, plain) == []


def test_rows_are_left_out_by_their_numbers_where_a_function_is_given_the_table() -> None:
    """The targets are a parameter of their own: without the same rows left out of them they would belong to others."""
    text = HEAD + "def epoch(net, optimizer, x, y):\n    for rows in torch.arange(len(x)).split(8):\n" \
        "        loss = «F.mse_loss(net(x[rows]), y[rows])»\n        loss.backward()\n        optimizer.step()\n"
    far = stats("x", (8, 3), min=-1.0, max=1e20, absmax_index=(2, 1), absmax_count=1, typical_row=1.0)
    case, plain = of_batch(text, "mse", far)
    row = "x[rows].reshape(len(x[rows]), -1).abs().amax(1)"
    assert added("drop-bad-rows", case, plain) == [[f"rows = rows[{row} <= 1e3 * {row}.median()]"]]


def test_a_code_for_no_value_is_missing() -> None:
    coded = stats("x", (8, 3), min=-1.0, max=1e20, absmax_index=(2, 1), absmax_count=5, typical_row=1.0)
    case, plain = of_batch(LOOP, "mse", coded, Y)
    assert added("fill-missing", case, plain) == [["x = x.masked_fill(x.abs() >= 9.9e+19, float('nan'))", FILLED]]


def test_a_batch_is_standardised_where_no_table_is_seen() -> None:
    raw = stats("x", (8, 3), min=0.0, max=4e5, absmax_index=(2, 1), absmax_count=1, typical_row=2e5)
    price = stats("y", (8,), min=1000.0, max=3000.0, absmax_index=(2,), absmax_count=1, typical_row=2000.0)
    case, plain = of_batch(NEXT, "mse", raw, price)
    assert added("standardise-inputs", case, plain) == [["x = (x - x.mean(0)) / x.std(0, correction=0).clamp(min=1e-6)"]]
    case, plain = of_batch(NEXT, "mse", stats("p", (8,), min=0.0, max=1.0), price)
    assert added("standardise-targets", case, plain) == [["y = (y - 2000) / 1000"]]


BIRDS = "BIRDS = ['owl', 'wren', 'rook']\nnet = nn.Sequential(nn.Linear(9, 4), nn.ReLU(), nn.Linear(4, len(BIRDS)))\n"


@pytest.mark.parametrize(("body", "low", "expected"), [
    (BIRDS + "loss = «F.cross_entropy(net(x), y[rows])»\n", 1.0,
     [["loss = F.cross_entropy(net(x), y[rows] - 1)"],
      ["net = nn.Sequential(nn.Linear(9, 4), nn.ReLU(), nn.Linear(4, len(BIRDS) + 1))"]]),
    (BIRDS + "criterion = nn.CrossEntropyLoss()\nloss = «criterion(net(x), target)»\n", 1.0,
     [["loss = criterion(net(x), target - 1)"],
      ["net = nn.Sequential(nn.Linear(9, 4), nn.ReLU(), nn.Linear(4, len(BIRDS) + 1))"]]),
    ("net = nn.Linear(9, out_features=3)\nloss = «F.cross_entropy(net(x), y)»\n", 0.0, [["net = nn.Linear(9, out_features=4)"]]),
    ("N = 3\nnet = nn.Linear(9, N)\nloss = «F.cross_entropy(net(x), y)»\n", 0.0, [["net = nn.Linear(9, N + 1)"]]),
    ("a, b = nn.Linear(3, 3), nn.Linear(3, 3)\nloss = «F.cross_entropy(b(a(x)), y)»\n", 0.0, []),  # which one is meant?
    ("net = nn.Linear(9, 3)\nloss = «F.cross_entropy(net(x), y)»\n", -2.0, []),
])
def test_labels_beyond_the_outputs(body: str, low: float, expected: list[list[str]]) -> None:
    text, place = marked(HEAD + body)
    labels = stats("y", (8,), "int64", min=low, max=3.0)
    assert added("map-labels", born(place, "cross_entropy", stats("scores", (8, 3)), labels), text) == expected


def test_a_size_that_only_runs_can_tell() -> None:
    text, place = marked(HEAD + "embed = nn.Embedding(len(vocabulary), 8)\nh = «embed(words)»\n")
    words = stats("words", (8,), "int64", min=0.0, max=50.0)
    expected = [["embed = nn.Embedding(len(vocabulary) + 1, 8)"]]
    assert added("map-labels", born(place, "embedding", stats("w", (50, 8)), words), text) == expected


@pytest.mark.parametrize(("body", "expected"), [
    ("class M(nn.Module):\n    def __init__(self, n):\n        self.year, self.out = nn.Embedding(n, 8), nn.Linear(8, 1)\n\n"
     "    def forward(self, y):\n        return self.out(«self.year(y)»)\n\n    def look(self, y):\n        return self.year(y[:1])\n",
     ["self.year, self.out = nn.Embedding(n + 1, 8), nn.Linear(8, 1)", "return self.out(self.year(y + 1))",
      "return self.year(y[:1] + 1)"]),
    ("table = nn.Embedding(num_embeddings=50, embedding_dim=4)\nh = «table(a - b)»\n",
     ["table = nn.Embedding(num_embeddings=51, embedding_dim=4)", "h = table((a - b) + 1)"]),
    ("table = nn.Embedding(50, 4, padding_idx=0)\nh = «table(words)»\n", None),
    ("table = nn.Embedding(50, 4, 0)\nh = «table(words)»\n", None),
    ("loss_fn = nn.CrossEntropyLoss()\nh = «F.embedding(words, table)»\n", None),
])
def test_a_row_for_what_an_encoder_has_not_seen(body: str, expected: list[str] | None) -> None:
    text, place = marked(HEAD + body)
    words = stats("words", (8,), "int64", min=-1.0, max=7.0)
    found = added("map-labels", born(place, "embedding", stats("w", (50, 8)), words), text)
    assert found == ([expected] if expected else [])


def test_a_function_that_takes_a_step_is_given_the_batch() -> None:
    text = HEAD + 'def learn(x, y):\n    """One update."""\n    loss = «F.mse_loss(net(x), y)»\n    loss.backward()\n'
    gaps = stats("x", (8, 3), nan=2, min=-1.0, max=1.0)
    case, plain = of_batch(text, "input", gaps, Y, phase="data")
    assert added("fill-missing", case, plain) == [[FILLED]]
    assert added("drop-bad-rows", case, plain) == [["keep = x.reshape(len(x), -1).isfinite().all(1)", "x, y = x[keep], y[keep]"]]


@pytest.mark.parametrize(("line", "expected"), [
    ("prior = torch.tensor([n[k] / len(rows) for k in names])", "prior = torch.tensor([max(n[k], 1) / len(rows) for k in names])"),
    ("prior = n / n.sum()", "prior = n.clamp(min=1) / n.sum()"),
    ("prior = torch.bincount(y).float() / y.numel()", "prior = torch.bincount(y).float().clamp(min=1) / y.numel()"),
])
def test_shares_whose_logarithm_is_taken_come_from_counts_of_one_at_least(line: str, expected: str) -> None:
    text, place = marked(HEAD + f"«{line}»\n")
    case = born(Location("train.py", 99), "log", stats("prior", (4,), zero=1))
    case = msgspec.structs.replace(case, makings=(Making("operand", "prior", "divide", place),))
    assert [expected] in added("guard-class-weights", case, text)
    other = born(Location("train.py", 99), "nll_loss", stats("prior", (4,), zero=1), makings=case.makings)
    assert [expected] not in added("guard-class-weights", other, text)  # a weight, not a logarithm


@pytest.mark.parametrize(("line", "expected"), [
    ("inverse = n ** -0.5", ["inverse = (n + (n == 0)) ** -0.5", "inverse = n.clamp(min=1) ** -0.5",
                             "inverse = n.clip(1) ** -0.5", "inverse = max(n, 1) ** -0.5"]),
    ("inverse = share ** -0.5", ["inverse = (share + (share == 0)) ** -0.5"]),  # a floor of 1 would make all shares alike
    ("w = 1.0 / seen", ["w = 1.0 / (seen + (seen == 0))"]),
    ("w = 1.0 / counts", ["w = 1.0 / counts.clamp(min=1)", "w = 1.0 / counts.clip(1)", "w = 1.0 / max(counts, 1)",
                          "w = 1.0 / (counts + (counts == 0))"]),
])
def test_weights_of_what_does_not_occur(line: str, expected: list[str]) -> None:
    text, place = marked(HEAD + f"n = labels.bincount()\nseen = n / n.sum()\n«{line}»\n")
    case = born(Location("train.py", 99), "nll_loss", stats("w", (4,), nan=1))
    case = msgspec.structs.replace(case, makings=(Making("weight", "w", "divide", place),))
    assert added("guard-class-weights", case, text) == [[one] for one in expected]


@pytest.mark.parametrize("divisor", [
    stats("n", (8,), zero=1, min=0.0, max=2.5), stats("n", (8,), zero=1, min=-1.0, max=1.0),
    stats("n", (8,), zero=1, min=0.0, max=2.0, made_by=("relu", "matmul")),
])
def test_what_was_not_counted_gets_no_floor_of_1(divisor: TensorStats) -> None:
    text, place = marked(HEAD + "share = «y / n»\n")
    case = born(place, "div", stats("y", (8,), culprit=0.0), divisor)
    assert added("guard-class-weights", case, text) == []
    counted = born(place, "div", stats("y", (8,), culprit=0.0), stats("n", (8,), zero=1, min=0.0, max=2.0))
    assert ["share = y / n.clamp(min=1)"] in added("guard-class-weights", counted, text)


def test_words_beyond_the_table() -> None:
    text, place = marked(HEAD + "embed = nn.Embedding(50, 8)\nh = «embed(words)»\n")
    words = stats("words", (8,), "int64", min=0.0, max=51.0)
    assert added("map-labels", born(place, "embedding", stats("w", (50, 8)), words), text) == [["embed = nn.Embedding(52, 8)"]]


@pytest.mark.parametrize(("line", "first"), [
    ("power = «clip * clip»", 'power = clip.astype("float32") * clip'),
    ("power = «np.square(clip)»", 'power = np.square(clip.astype("float32"))'),
    ("light = «1 + image»", 'light = 1 + image.astype("float32")'),
    ("«image -= dark»", 'image = image.astype("float32") - dark'),
])
def test_whole_numbers_become_floating_point_before_they_are_computed_with(line: str, first: str) -> None:
    text, place = marked(HEAD + line + "\n")
    birth = Birth(place, "gave NaN", "data set", wrapped="200 * 200 left int16", wrapped_at=place)
    case = born(Location("train.py", 99), "input", stats("x", nan=1), phase="data")
    case = msgspec.structs.replace(case, origin=msgspec.structs.replace(case.origin, birth=birth))
    assert added("convert-before-computing", case, text)[0] == [first]
    if "np." in line:
        return
    torch_only = text.replace("import numpy as np", "import math")
    assert added("convert-before-computing", case, torch_only)[0] == [first.replace('.astype("float32")', ".float()")]


@pytest.mark.parametrize(("line", "wrapped", "first"), [
    ("«index = (nir.astype(np.float32) - red) / (nir + red)»", "nir + red",
     'index = (nir.astype(np.float32) - red) / (nir.astype("float32") + red)'),
    ("«light = np.log(image.mean() + 1.0) - np.log(image + 1)»", "image + 1",
     'light = np.log(image.mean() + 1.0) - np.log(image.astype("float32") + 1)'),
])
def test_the_arithmetic_that_left_its_range_is_converted_and_its_zero_is_no_spread(line: str, wrapped: str, first: str) -> None:
    text, place = marked(HEAD + line + "\n")
    birth = Birth(place, "gave NaN", "data set", wrapped=f"`{wrapped}` left the range of uint8", wrapped_at=place)
    case = born(Location("train.py", 99), "input", stats("x", nan=1), phase="data")
    case = msgspec.structs.replace(case, origin=msgspec.structs.replace(case.origin, birth=birth))
    assert added("convert-before-computing", case, text)[0] == [first]
    assert added("guard-the-spread", case, text) == []


def test_what_is_no_table_is_not_computed_with() -> None:
    text = "class Windows:\n    pass\n\nrows = [x, y]\norder = torch.randperm(9)\ndata = Windows()\ntable = torch.tensor(rows)\n"
    project = Project({"train.py": text})
    made = [after_table(project, Location("train.py", line), "{x} = 0") for line in (4, 5, 6, 7)]
    assert [one is not None for one in made] == [False, False, False, True]


@pytest.mark.parametrize(("body", "expected"), [
    ("act = nn.ReLU()\nh = act(a(x))\nz = «act(b(h))»\n", ["z = F.softplus(b(h)) + 1e-3"]),
    ("act = nn.ReLU()\nz = «act(b(x))»\n", ["act = nn.Softplus()"]),
    ("net = nn.Sequential(a, nn.ReLU())\nw = net(x)\nz = «net(y)»\n", ["net = nn.Sequential(a, nn.Softplus())"]),
])
def test_a_rectifier_of_hidden_layers_stays_one(body: str, expected: list[str]) -> None:
    text, place = marked(HEAD + body)
    line = len(text.splitlines()) + 1
    given = msgspec.structs.replace(stats("z", zero=2, min=0.0), made_by=("relu",), made_at=place)
    case = born(Location("train.py", line), "log", given)
    assert added("positive-by-construction", case, text + "s = torch.log(z)\n") == [expected]


def test_a_number_of_rows_that_the_scores_share_is_one_more_for_both() -> None:
    text = HEAD + "words = load()\nV = len(words)\ntable = nn.Embedding(V, 4)\nhead = nn.Linear(4, V)\nscores = head(«table(ids)»)\n"
    weight = stats("weight", (43, 4), min=-1.0, max=1.0)
    ids = msgspec.structs.replace(stats("ids", (8,), min=0.0, max=43.0), dtype="int64")
    plain, place = marked(text)
    patches = added("map-labels", born(place, "embedding", weight, ids), plain)
    assert ["table = nn.Embedding(V + 1, 4)", "head = nn.Linear(4, V + 1)"] in patches
