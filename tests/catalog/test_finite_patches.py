"""Patches for trainings that stand still, and for state that was bad before: word for word."""

from __future__ import annotations

import msgspec
import pytest
from catalog.finite_cases import barrier, finite, units, weight
from catalog.patching import ZERO, added, born, marked, proposals
from catalog.writing import configuration, stats

from stayfinite.catalog import pages
from stayfinite.catalog.edits.changes import patched
from stayfinite.records.incident import Case, Configuration, OptimizerInfo, Symptom
from stayfinite.records.location import Location
from stayfinite.records.survey import Birth, LossInputs, Making, Survey

HEAD = "import torch\nimport torch.nn.functional as F\nfrom torch import nn\n\n\n"


def still(case: Case, detector: str = "plateau", **rest: object) -> Case:
    return msgspec.structs.replace(case, symptom=Symptom(detector, 60, "loss", 2.3), **rest)


def at_mark(body: str, op: str, **rest: object) -> tuple[Case, str]:
    text, place = marked(HEAD + body + "\n")
    return still(born(place, op, stats("h", (32, 64)), output=stats("out", (32, 64)), phase="backward"), **rest), text


def opened(layer: str) -> list[str]:
    return [f"for name, bias in {layer}.named_parameters():", 'if name.startswith("bias_hh"):', "bias.data.chunk(3)[1].fill_(3.0)"]


STACK = "def forward(self, x):\n    for layer in self.layers:\n        x = «torch.sigmoid(layer(x))»\n    return x"


@pytest.mark.parametrize(("remedy", "body", "op", "expected"), [
    ("leave-out-activation", "return_ = «torch.relu(self.out(h))».squeeze(-1)", "relu", [["return_ = self.out(h).squeeze(-1)"]]),
    ("leave-out-activation", "y = «self.out(h).relu()»", "relu", [["y = self.out(h)"]]),
    ("leave-out-activation", "y = «F.softmax(a + b, dim=1)»", "softmax", [["y = (a + b).sigmoid()"]]),
    ("leave-out-activation", "class Net(nn.Module):\n    def __init__(self):\n"
     "        self.body = nn.Sequential(nn.Linear(4, 1), nn.ReLU())\n\n    def forward(self, x):\n        return «self.body(x)»", "relu",
     [["self.body = nn.Sequential(nn.Linear(4, 1), nn.Identity())"]]),
    ("leave-out-activation", 'heads = {"softmax": lambda: nn.Softmax(dim=1), "tanh": nn.Tanh}\ny = «net(h)»', "softmax",
     [['heads = {"softmax": lambda: nn.Sigmoid(), "tanh": nn.Tanh}']]),
    ("leave-out-activation", "a, b = nn.ReLU(), nn.ReLU()\ny = «net(h)»", "relu", []),  # which one is meant?
    ("leave-out-activation", "y = «F.relu(a)» + F.gelu(b)", "exp", []),
    ("normalise-before-activation", STACK, "sigmoid",
     [["value = layer(x)", "x = torch.sigmoid(F.layer_norm(value, value.shape[-1:]))"]]),
    ("normalise-before-activation", "block = nn.Sequential(nn.Linear(w, 2 * w), nn.Sigmoid(), nn.Linear(2 * w, 1))\ny = «block(x)»",
     "sigmoid",
     [["block = nn.Sequential(nn.Linear(w, 2 * w), nn.LayerNorm(2 * w), nn.Sigmoid(), nn.Linear(2 * w, 1))"],
      ["block = nn.Sequential(nn.Linear(w, 2 * w), nn.LayerNorm(2 * w), nn.ReLU(), nn.Linear(2 * w, 1))"],
      ["block = nn.Sequential(nn.Linear(w, 2 * w), nn.BatchNorm1d(2 * w), nn.ReLU(), nn.Linear(2 * w, 1))"]]),
    ("average-the-sum", "pooled = h.sum(dim=1)\npooled = «torch.tanh(pooled)»", "tanh", [["pooled = h.mean(dim=1)"]]),
    ("average-the-sum", "z = «torch.tanh(torch.sum(h, 1))»", "tanh", [["z = torch.tanh(torch.mean(h, 1))"]]),
    ("average-the-sum", "z = «torch.tanh(h.sum())»", "tanh", []),  # everything in one number: not a pool
    ("add-a-skip-connection", STACK, "sigmoid", [["x = x + F.relu(layer(x))"], ["x = x + 0.3 * F.relu(layer(x))"]]),
    ("add-a-skip-connection", STACK.replace("x = «", "y = «"), "sigmoid", []),
    ("add-a-skip-connection", "x = «torch.sigmoid(layer(x))»", "sigmoid", []),  # no stack: shapes may differ
    ("use-gated-cells", "rnn = nn.RNN(8, 16, batch_first=True)\nh = «torch.tanh(x)»", "tanh",
     [["rnn = nn.GRU(8, 16, batch_first=True)", *opened("rnn")], ["rnn = nn.GRU(8, 16, batch_first=True)"]]),
    ("use-gated-cells", 'c, out = nn.RNNCell(8, 9, nonlinearity="relu"), nn.Linear(9, 1)\nh = «torch.tanh(x)»', "tanh",
     [["c, out = nn.GRUCell(8, 9), nn.Linear(9, 1)", *opened("c")], ["c, out = nn.GRUCell(8, 9), nn.Linear(9, 1)"]]),
    ("use-gated-cells", 'name = "r"\nrnn = nn.RNN(8, 16, 1, "relu", True, True)\nh = «torch.tanh(x)»', "tanh",
     [["rnn = nn.GRU(8, 16, 1, True, True)", *(line.replace("name, ", "gate_name, ").replace("if name.", "if gate_name.")
                                             for line in opened("rnn"))], ["rnn = nn.GRU(8, 16, 1, True, True)"]]),
    ("use-gated-cells", "rnn = nn.RNN(8, 16, 1, kind)\nh = «torch.tanh(x)»", "tanh", []),
    ("use-gated-cells", "cells = [nn.RNNCell(8, 8) for _ in range(3)]\nh = «torch.tanh(x)»", "tanh",
     [["cells = [nn.GRUCell(8, 8) for _ in range(3)]"]]),
    ("guard-the-spread", "x = (t - t.mean(0)) / «t.std(0)»", "input",
     [["spread = t.std(0)", "x = (t - t.mean(0)) / (spread + (spread == 0))"]]),
    ("guard-the-spread", "s = t.std(axis=0)\nx = «(t - t.mean(axis=0)) / s»", "input",
     [["x = (t - t.mean(axis=0)) / (s + (s == 0))"]]),
    ("guard-the-spread", 'z = t / «g.transform("std")»', "input",
     [['spread = g.transform("std")', "z = t / (spread + (spread == 0))"]]),
    ("guard-the-spread", "x = «t / 16»", "input", []),
    ("weigh-all-alike", "policy = «Categorical(probs=p * legal)»", "div",
     [["weight = p * legal", "policy = Categorical(probs=(weight + (weight.sum(dim=-1, keepdim=True) == 0)))"]]),
    ("weigh-all-alike", "n = «torch.multinomial(p, 1)»", "div",
     [["n = torch.multinomial((p + (p.sum(dim=-1, keepdim=True) == 0)), 1)"]]),
    ("positive-by-construction", "def k(self, x):\n    return e + self.noise * torch.eye(9)\n\n\nL = «torch.linalg.cholesky(k(x))»",
     "cholesky", [["return e + (F.softplus(self.noise, beta=10) + 1e-3) * torch.eye(9)"]]),
    ("count-from-one", "def step(self):\n    m = a / «(1 - b ** t)»\n    v = c / (1 - d ** t)\n", "div",
     [["m = a / (1 - b ** (t + 1))", "v = c / (1 - d ** (t + 1))"]]),
    ("count-from-one", "m = a / «(1 - b ** 2)»", "div", []),
])
def test_patches(remedy: str, body: str, op: str, expected: list[list[str]]) -> None:
    case, text = at_mark(body, op)
    if remedy == "guard-the-spread":
        case = msgspec.structs.replace(case, origin=msgspec.structs.replace(case.origin, phase="data"))
    assert added(remedy, case, text) == expected


@pytest.mark.parametrize(("body", "expected"), [
    ("y = «torch.sigmoid(net(h))»", ["y = F.log_softmax(net(h), dim=1)"]),
    ("y = «net(h).sigmoid()»", ["y = F.log_softmax(net(h), dim=1)"]),
    ("act = nn.Sequential(nn.Linear(4, 8), nn.Sigmoid())\ny = «net(h)»", ["act = nn.Sequential(nn.Linear(4, 8), nn.LogSoftmax(dim=1))"]),
])
def test_a_likelihood_is_given_the_logarithm_of_a_softmax(body: str, expected: list[str]) -> None:
    loss = LossInputs("nll_loss", Location("train.py", 1), stats("y"), made_by="sigmoid")
    case, text = at_mark(body, "sigmoid")
    case = msgspec.structs.replace(case, survey=Survey(losses=(loss,)))
    assert added("leave-out-activation", case, text) == [expected]


def optimizer_at(text: str, words: str) -> OptimizerInfo:
    line = next(number for number, one in enumerate(text.split("\n"), 1) if words in one)
    return OptimizerInfo("Adam", rates=(1e-3,), location=Location("train.py", line))


LATE = HEAD + """model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2))
opt = torch.optim.Adam(model.parameters())
model[1] = nn.Linear(8, 5)
for x, y in loader:
    opt.zero_grad()
    F.cross_entropy(model(x), y).backward()
    opt.step()
"""


def late(text: str, built: int) -> Case:
    survey = Survey(parameters=(weight("0.weight", 0.0, change=0.0, owned=True), weight("1.weight", 0.1, change=0.0, owned=False)))
    known = Configuration(optimizers=(optimizer_at(text, "Adam("),), built_late_at=Location("train.py", built))
    return finite(survey, detector="dead-gradient", configuration=known)


def test_layers_that_no_optimizer_has_are_handed_over() -> None:
    line = LATE.split("\n").index("model[1] = nn.Linear(8, 5)") + 1
    assert added("hand-over-parameters", late(LATE, line), LATE) == [['opt.add_param_group({"params": model[1].parameters()})']]


def test_an_optimizer_that_was_built_too_early_is_built_before_the_loop() -> None:
    text = LATE.replace("model[1] = nn.Linear(8, 5)", "rebuild(model)")
    line = text.split("\n").index("rebuild(model)") + 1
    fix = next(one.fix for one in proposals("hand-over-parameters", late(text, line), {"train.py": text}) if one.fix is not None)
    assert "rebuild(model)\nopt = torch.optim.Adam(model.parameters())\nfor x, y" in patched({"train.py": text}, fix)["train.py"]
    used = text.replace("rebuild(model)\n", "sched = StepLR(opt, 3)\nrebuild(model)\n")
    line += 1
    assert added("hand-over-parameters", late(used, line), used) == []  # something has it already


def test_an_optimizer_is_built_behind_the_call_that_replaces_a_layer() -> None:
    text = HEAD + """def renew(net):
    net.head = nn.Linear(8, 5)
    return net


class Tuning:
    def __init__(self, net):
        self.opt = make_adam(net)
        self.net = renew(net)
        self.loss = nn.CrossEntropyLoss()

    def step(self, x, y):
        self.loss(self.net(x), y).backward()
        self.opt.step()


def make_adam(net):
    return torch.optim.Adam(net.parameters())
"""
    line = text.split("\n").index("    net.head = nn.Linear(8, 5)") + 1
    fix = next(one.fix for one in proposals("hand-over-parameters", late(text, line), {"train.py": text}) if one.fix is not None)
    assert "= renew(net)\n        self.opt = make_adam(net)\n        self.loss" in patched({"train.py": text}, fix)["train.py"]
    used = text.replace("self.net = renew(net)", "self.net = renew(net, self.opt)")
    assert added("hand-over-parameters", late(used, line), used) == []


RESET = HEAD + """class Trainer:
    def __init__(self, rate):
        self.reset(13)
        self.opt = torch.optim.Adam(params=self.net.parameters(), lr=rate)

    def reset(self, columns):
        self.net = nn.Linear(columns, 3)

    def fit(self, x):
        self.reset(x.shape[1])
        self.net(x).sum().backward()
        self.opt.step()
"""


def test_the_optimizer_is_given_what_a_method_built_anew() -> None:
    case = late(RESET, RESET.split("\n").index("        self.reset(x.shape[1])") + 1)
    assert added("hand-over-parameters", case, RESET) == [['self.opt.param_groups[0]["params"] = list(self.net.parameters())']]
    grouped = RESET.replace("params=self.net.parameters()", 'params=[{"params": self.net.parameters()}]')
    assert added("hand-over-parameters", case, grouped) == []
    known = RESET.replace("lr=rate", "lr=self.rate")
    assert added("hand-over-parameters", case, known) == [["self.opt = torch.optim.Adam(params=self.net.parameters(), lr=self.rate)"]]


def test_gradients_are_cleared_behind_an_update_in_a_branch() -> None:
    text = HEAD + "for i, x in enumerate(data):\n"
    text += "    net(x).sum().backward()\n    if i % 4 == 0:\n        opt.zero_grad()\n        opt.step()\n"
    place = Location("train.py", text.split("\n").index("        opt.zero_grad()") + 1)
    reached = msgspec.structs.replace(weight("net.0.weight", None, owned=True), arrived=0.5)
    case = finite(Survey(parameters=(reached,), cleared_at=place), detector="dead-gradient", configuration=configuration())
    after = patched({"train.py": text}, next(o.fix for o in proposals("zero-gradients", case, {"train.py": text}) if o.fix))["train.py"]
    assert after.endswith("    if i % 4 == 0:\n        opt.step()\n        opt.zero_grad()\n")
    elsewhere = text.replace("        opt.zero_grad()\n", "        clear(opt)\n")
    (said,) = proposals("zero-gradients", case, {"train.py": elsewhere})
    assert said.fix is None and f"train.py:{place.line} clears" in said.reason


@pytest.mark.parametrize(("body", "expected"), [
    ("loss = torch.tensor(F.mse_loss(net(x), y).item(), requires_grad=True)", ["loss = F.mse_loss(net(x), y)"]),
    ("loss = torch.tensor(fit.item() + 0.1 * float(size)).requires_grad_()", ["loss = fit + 0.1 * size"]),
    ("loss = torch.tensor(fit.item())\nloss.requires_grad = True", ["loss = fit"]),
    ("rows = []\nfor x in data:\n    rows.append(net(x).sum().item())\nloss = torch.tensor(rows, requires_grad=True).mean()",
     ["rows.append(net(x).sum())", "loss = torch.stack(rows).mean()"]),
    ("loss = torch.tensor([f(x).item() for x in data], requires_grad=True).sum()", ["loss = torch.stack([f(x) for x in data]).sum()"]),
    ("loss = torch.tensor(fit.item())", None),
    ("a = torch.tensor(1.0, requires_grad=True)\nloss = torch.tensor(fit.item(), requires_grad=True)", None),
])
def test_a_loss_that_was_made_anew_of_its_numbers(body: str, expected: list[str] | None) -> None:
    case = finite(Survey(parameters=(weight("net.0.weight", None, owned=True),)), detector="dead-gradient")
    assert added("keep-in-the-graph", case, HEAD + body + "\n") == ([expected] if expected else [])
    alive = finite(Survey(parameters=(weight("net.0.weight", 0.5, owned=True),)), detector="dead-gradient")
    assert proposals("keep-in-the-graph", alive, {"train.py": HEAD + body + "\n"}) == []


def test_gradients_are_cleared_behind_the_update() -> None:
    text = HEAD + "for x in data:\n    net(x).sum().backward()\n    opt.zero_grad()  # every step\n    opt.step()\n"
    case = finite(Survey(), detector="dead-gradient", configuration=configuration())
    assert added("zero-gradients", case, text) == [["opt.zero_grad()"]]
    after = patched({"train.py": text}, next(o.fix for o in proposals("zero-gradients", case, {"train.py": text}) if o.fix))["train.py"]
    assert after.endswith("    net(x).sum().backward()\n    opt.step()\n    opt.zero_grad()\n")


@pytest.mark.parametrize(("line", "expected"), [
    ("error = predicted.data - y", ["error = predicted - y"]),
    ("error = net(x).detach() - y", ["error = net(x) - y"]),
    ("error = held - y", None),
])
def test_what_was_cut_off_is_joined(line: str, expected: list[str] | None) -> None:
    text = HEAD + line + "\n"
    cut = barrier("detach", location=Location("train.py", 6), detached=True, parameters=("net.0.weight",))
    case = finite(Survey(barriers=(cut,), parameters=(weight("net.0.weight", None, owned=True),)), detector="dead-gradient")
    assert added("keep-in-the-graph", case, text) == ([expected] if expected else [])


def test_state_that_was_loaded() -> None:
    text = HEAD + 'state = torch.load(path)\nnet.load_state_dict(state["net"])\nif resume:\n    optimizer.load_state_dict(state["opt"])\n'
    case = born(Location("train.py", 7), "input", ZERO, phase="load")
    assert added("reload-checkpoint", case, text) == [[
        'net.load_state_dict({name: value for name, value in state["net"].items() if value.isfinite().all()}, strict=False)'
    ]]
    assert added("reset-moments", case, text) == [["pass"]]


@pytest.mark.parametrize(("most", "expected"), [
    (255.0, [["loss = F.cross_entropy(net(x), mask, ignore_index=255)"]]),
    (12.0, []),  # a class that was added, or counting from 1: only the data can say
])
def test_a_mark_for_what_has_no_label(most: float, expected: list[list[str]]) -> None:
    text, place = marked(HEAD + "loss = «F.cross_entropy(net(x), mask)»\n")
    labels = stats("mask", (8, 8), "int64", min=0.0, max=most)
    assert added("map-labels", born(place, "cross_entropy", stats("scores"), labels), text) == expected


def test_weights_that_a_method_draws() -> None:
    text = HEAD + "for m in net.modules():\n    m.weight.data.uniform_(-1, 1)\n"
    making = Making("start", "net", "made", Location("train.py", 7))
    case = msgspec.structs.replace(born(Location("train.py", 9), "mse", ZERO), makings=(making,))
    assert added("initialise-by-fan-in", case, text) == [
        ['nn.init.kaiming_normal_(m.weight, nonlinearity="relu")'], ["nn.init.normal_(m.weight, std=0.02)"],
    ]


def test_rows_that_only_statistics_saw() -> None:
    text = HEAD + "for batch in old.split(50):\n    model(batch)\n"
    case = born(Location("train.py", 9), "batch_norm", ZERO)
    case = msgspec.structs.replace(case, origin=msgspec.structs.replace(case.origin, birth=Birth(Location("train.py", 7), "met", "step")))
    assert added("drop-bad-rows", case, text) == [["model(batch[batch.isfinite().flatten(1).all(dim=1)])"]]


def test_what_is_compiled_runs_as_it_is_written() -> None:
    text = HEAD + "net = torch.compile(Net(8),\n                    backend=fast)\nother = re.compile(words)\n"
    case = msgspec.structs.replace(born(Location("train.py", 6), "exp", ZERO), configuration=Configuration(compiled=True))
    assert added("use-plain-code", case, text) == [["net = Net(8)"]]
    assert added("use-plain-code", msgspec.structs.replace(case, configuration=Configuration()), text) == []


def test_the_line_that_made_a_bad_buffer() -> None:
    text = HEAD + "self.gain.copy_(level.mean() / level)\ny = x * self.gain / 2\n"
    case = born(Location("train.py", 7), "mul", ZERO)
    born_at = Birth(Location("train.py", 6), "written", "this process")
    case = msgspec.structs.replace(case, origin=msgspec.structs.replace(case.origin, birth=born_at))
    assert added("guard-the-spread", case, text) == [["self.gain.copy_(level.mean() / (level + (level == 0)))"]]


def test_a_rate_in_an_update_by_hand() -> None:
    text = HEAD + "RATE, MOMENTUM = 0.4, 0.9\nfor p in net.parameters():\n    p.data.sub_(RATE * p.grad)\n"
    case = msgspec.structs.replace(born(Location("train.py", 8), "sub", ZERO), configuration=Configuration())
    assert added("lower-learning-rate", case, text) == [["RATE, MOMENTUM = 0.04, 0.9"]]


@pytest.mark.parametrize(("line", "size", "expected"), [
    ("«nn.init.constant_(module.bias, bias_value)»", 4.6, [["nn.init.constant_(module.bias, 0.0)"]]),
    ("«module.bias.data.fill_(bias)»", 4.6, [["module.bias.data.fill_(0.0)"]]),
    ("«nn.init.constant_(module.bias, 0.1)»", 0.1, []),  # something else keeps the units below 0
    ("«nn.init.constant_(module.weight, -1.0)»", 4.6, []),
])
def test_biases_that_keep_every_unit_below_zero(line: str, size: float, expected: list[list[str]]) -> None:
    text, place = marked(HEAD + line + "\n")
    dead = units("relu", dead=64, constant=64, input=stats("h", (32, 64), min=-4.7, max=-4.5), passed=0.0)
    survey = Survey(units=(dead,), barriers=(barrier("relu"),), parameters=(weight("net.0.weight", 0.0), weight("net.0.bias", 0.0,
                    magnitude=size)))
    name = "module.weight" if "weight" in line else "module.bias"
    case = finite(survey, "relu", detector="dead-gradient", makings=(Making("start", name, "draw", place),))
    assert added("begin-biases-at-zero", case, text) == expected
    assert (pages.load("causes", "dead-relu").locate(case) == place) == bool(expected)
