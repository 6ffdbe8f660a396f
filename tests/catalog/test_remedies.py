"""Remedies on source in the styles people write; each patch is compared word for word."""

from __future__ import annotations

import pytest
from catalog.patching import ZERO, changed, changed_lines, marked
from catalog.writing import stats
from hypothesis import given
from hypothesis import strategies as st

from stayfinite.catalog import pages

HEAD = "import torch\nimport torch.nn.functional as F\nfrom torch import nn\n\n\n"
SOFT = stats("p", zero=1, min=0.0, culprit=0.0, made_by=("softmax", "matmul"))
SIGM = stats("p", zero=1, min=0.0, culprit=0.0, made_by=("sigmoid", "matmul"))
COUNT = stats("n", (10,), "int64", zero=1, min=0.0, max=9.0, culprit=0.0)


def new_lines(remedy: str, body: str, op: str, *inputs: object, head: str = HEAD, **rest: object) -> list[str] | None:
    """The lines that differ, without their indentation; ``None`` without a patch."""
    text = head + body
    after = changed(remedy, text, op, *inputs, **rest)  # type: ignore[arg-type]
    if after is None:
        return None
    return [line[2:].strip() for line in changed_lines(marked(text)[0], after) if line.startswith("+")]


@pytest.mark.parametrize(("body", "expected"), [
    ("loss = -«torch.log(torch.softmax(z, 1))».mean()", ["loss = -F.log_softmax(z, dim=1).mean()"]),
    ("loss = -«z.softmax(dim=-1).log()»[i, y].mean()", ["loss = -F.log_softmax(z, dim=-1)[i, y].mean()"]),
    ("p = F.softmax(net(x), dim=1)\nloss = -«p[i, y].log()».mean()",
     ["log_p = F.log_softmax(net(x), dim=1)", "loss = -log_p[i, y].mean()"]),
    ("p = F.softmax(net(x), dim=1)\nloss = -«torch.log(p)».mean()\nhits = p.argmax(1)",
     ["log_p = F.log_softmax(net(x), dim=1)", "p = log_p.exp()", "loss = -log_p.mean()"]),
    ("loss = -«torch.log(nn.Softmax(dim=1)(z).gather(1, y))».mean()", ["loss = -F.log_softmax(z, dim=1).gather(1, y).mean()"]),
    ("class L(nn.Module):\n    def __init__(self):\n        self.soft = nn.Softmax(dim=1)\n\n    def forward(self, z):\n"
     "        return -«torch.log(self.soft(z))».mean()", ["return -F.log_softmax(z, dim=1).mean()"]),
    ("loss = -«torch.log(torch.sigmoid(a - b))».mean()", ["loss = -F.logsigmoid(a - b).mean()"]),
    ("loss = -«torch.log(1 - torch.sigmoid(a - b))».mean()", ["loss = -F.logsigmoid(-(a - b)).mean()"]),
    ("p = torch.sigmoid(z)\nloss = -«torch.log(1 - p)».mean()", ["loss = -F.logsigmoid(-z).mean()"]),
    ("loss = -(\n    «torch.log(\n        F.softmax(z,  # logits\n                  dim=1)\n    )»  # of the labels\n).mean()",
     ["F.log_softmax(z, dim=1)  # of the labels"]),
])
def test_logarithms_from_logits(body: str, expected: list[str]) -> None:
    made = SIGM if "sigmoid" in body else SOFT
    assert new_lines("use-log-softmax", body + "\n", "log", made, phase="loss") == expected


@pytest.mark.parametrize("body", [
    "if a:\n    p = F.softmax(z, 1)\nloss = «p.log()»",  # another branch may have made p
    "p = F.softmax(z, 1)\np = p * mask\nloss = «p.log()»",  # no longer a softmax
    "loss = «torch.log(1 - F.softmax(z, 1))»",
    "import math\nloss = «math.log(p)»",
])
def test_what_is_not_the_logarithm_of_a_probability_is_left_alone(body: str) -> None:
    assert new_lines("use-log-softmax", body + "\n", "log", SOFT) is None


@pytest.mark.parametrize(("body", "op", "expected"), [
    ("d = «torch.sqrt(((a - b) ** 2).sum(1))»", "sqrt", "d = torch.sqrt(((a - b) ** 2).sum(1) + 1e-12)"),
    ("d = «((a - b) ** 2).sum(1).sqrt()»", "sqrt", "d = (((a - b) ** 2).sum(1) + 1e-12).sqrt()"),
    ("d = «(a + b).sqrt()»", "sqrt", "d = (a + b + 1e-12).sqrt()"),
    ("d = «s ** 0.5»", "pow", "d = (s + 1e-12) ** 0.5"),
    ("d = «(a - b).norm(dim=-1)»", "norm", "d = ((a - b).square().sum(dim=-1) + 1e-12).sqrt()"),
    ("d = «torch.linalg.norm(a - b, dim=1, keepdim=True)»", "norm",
     "d = ((a - b).square().sum(dim=1, keepdim=True) + 1e-12).sqrt()"),
    ("d = «x.std(0)»", "std", "d = (x.var(0) + 1e-12).sqrt()"),
])
def test_epsilon_goes_inside(body: str, op: str, expected: str) -> None:
    assert new_lines("epsilon-inside-root", body + "  # <- here\n", op, ZERO, phase="backward") == [expected + "  # <- here"]


def test_epsilon_can_be_held_by_the_format() -> None:
    half = stats("x", dtype="float16", zero=1, min=0.0, culprit=0.0)
    assert new_lines("epsilon-inside-root", "d = «x.sqrt()»\n", "sqrt", half) == ["d = (x + 1e-6).sqrt()"]


@pytest.mark.parametrize("body", ["d = «x ** 2»", "d = «torch.norm(x, p=1)»", "d = «torch.norm(x, 1)»"])
def test_other_powers_and_norms_get_no_epsilon(body: str) -> None:
    assert new_lines("epsilon-inside-root", body + "\n", "pow" if "**" in body else "norm", ZERO) is None


@pytest.mark.parametrize(("body", "divisor", "expected"), [
    ("s = «x / d»", ZERO, ["s = x / d.masked_fill(d == 0, 1.0)"]),
    ("s = «x / x.std(0)»", ZERO, ["spread = x.std(0)", "s = x / spread.masked_fill(spread == 0, 1.0)"]),
    ("f = lambda x: «x / x.std(0)»", ZERO, ["f = lambda x: x / (spread := x.std(0)).masked_fill(spread == 0, 1.0)"]),
    ("s = drop(x) + «x / x.std(0)»", ZERO, ["s = drop(x) + x / (spread := x.std(0)).masked_fill(spread == 0, 1.0)"]),
    ("s = «torch.div(x, d)»", ZERO, ["s = torch.div(x, d.masked_fill(d == 0, 1.0))"]),
    ("s = «x.sum(1) / mask.sum(1)»", COUNT, ["s = x.sum(1) / mask.sum(1).clamp(min=1)"]),
])
def test_divisors_are_chosen_first(body: str, divisor: object, expected: list[str]) -> None:
    assert new_lines("safe-divisor", body + "\n", "div", ZERO, divisor) == expected


def test_a_divisor_without_zeros_is_not_it() -> None:
    assert new_lines("safe-divisor", "s = «x / d»\n", "div", ZERO, stats("d", min=1e-30)) is None


@pytest.mark.parametrize("body", [
    "s = «torch.sin(x) / x»", "s = «x / torch.expm1(x)»", "grown = torch.expm1(x)\ns = «grown / x»", "s = «(1 - torch.exp(-x)) / x»",
    "s = «(a - b) / (a.log() - b.log())»",
])
def test_a_quotient_with_a_limit_is_not_given_another_value(body: str) -> None:
    zero = stats("x", (8,), zero=1, min=-1.0, culprit=0.0)
    assert new_lines("safe-divisor", body + "\n", "div", zero, zero) is None
    pole = stats("x", (8,), culprit=1.0)
    assert new_lines("safe-divisor", body + "\n", "div", pole, zero) is not None


STYLES = st.tuples(st.sampled_from(["\n", "\r\n"]), st.sampled_from(["    ", "\t", "  "]), st.sampled_from(["", "  # ende — 漢字 🙂"]),
                   st.sampled_from(["x", "größe", "self.läng"]), st.booleans())


@given(STYLES, st.sampled_from(["sqrt", "div"]))
def test_formatting_stays(style: tuple[str, str, str, str, bool], op: str) -> None:
    newline, indentation, comment, name, several = style
    expression = {"sqrt": f"torch.sqrt({name})", "div": f"z /{'' if not several else f' {chr(92)}{chr(10)}{indentation * 3}'} {name}"}[op]
    if several and op == "sqrt":
        expression = f"torch.sqrt(  # root{chr(10)}{indentation * 3}{name},{chr(10)}{indentation * 2})"
    lines = ["import torch", "", "", "def f(self, x, z, größe):", f'{indentation}"""Größe — 寸法."""',
             f'{indentation}s = "é🙂"; y = «{expression}»{comment}', f"{indentation}return y"]
    text = "\n".join(lines).replace("\n", newline)
    remedy = "epsilon-inside-root" if op == "sqrt" else "safe-divisor"
    after = changed(remedy, text, op, ZERO, ZERO)
    assert after is not None
    new = f"{name} + 1e-12" if op == "sqrt" else f"{name}.masked_fill({name} == 0, 1.0)"
    plain = marked(text)[0]
    line = next(number for number, one in enumerate(plain.split(newline)) if expression.split("\n")[0] in one)
    start = plain.index(expression.split("\n")[0], sum(len(one) + len(newline) for one in plain.split(newline)[:line]))
    whole = expression.replace("\n", newline)
    inner = whole.rindex(name)
    assert after == plain[: start + inner] + new + plain[start + inner + len(name) :]


@pytest.mark.parametrize("name", pages.ids("remedies"))
def test_a_remedy_declares_what_it_is_for(name: str) -> None:
    module = pages.load("remedies", name)
    assert module.TITLE and not module.TITLE.endswith(".")
    assert module.APPLICABILITY in ("safe", "unsafe", "display-only")
    assert module.CURES and set(module.CURES) <= set(pages.ids("causes"))
    assert module.EXAMPLES or module.NO_EXAMPLE
