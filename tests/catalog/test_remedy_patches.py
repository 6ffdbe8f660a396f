"""Patches of the other remedies, word for word, in the styles people write: trainers as classes, losses in other files, chains,
calls over several lines, walrus. What must not be patched is left alone."""

from __future__ import annotations

import msgspec
import pytest
from catalog.patching import ZERO, born, changed, changed_lines, marked, proposals
from catalog.writing import configuration, stats

from stayfinite.catalog.edits.changes import patched
from stayfinite.records.incident import Case, Configuration, OptimizerInfo
from stayfinite.records.location import Location
from stayfinite.records.scaling import LossScaling, Misuse
from stayfinite.records.series import Window
from stayfinite.records.survey import Making
from stayfinite.records.tensor import TensorStats
from stayfinite.records.trace import CustomFunction

HEAD = "import torch\nimport torch.nn.functional as F\nfrom torch import nn\n\n\n"
LARGE = stats("z", max=120.0, culprit=120.0)
LOGITS = stats("p", zero=1, min=0.0, max=1.0, culprit=0.0, made_by=("sigmoid",))
RAW = stats("v", min=-0.4, culprit=-0.1, made_by=("add", "matmul"))
INF = stats("best", neginf=2)


def new_lines(remedy: str, body: str, op: str, *inputs: TensorStats, head: str = HEAD, **rest: object) -> list[str] | None:
    after = changed(remedy, head + body + "\n", op, *inputs, **rest)
    if after is None:
        return None
    return [line[2:].strip() for line in changed_lines(marked(head + body + "\n")[0], after) if line.startswith("+")]


@pytest.mark.parametrize(("remedy", "body", "op", "inputs", "expected"), [
    ("subtract-the-maximum", "def soft(z):\n    e = «torch.exp(z)»\n    return e / e.sum(1, keepdim=True)", "exp", (LARGE,),
     ["e = torch.exp(z - z.amax(dim=1, keepdim=True))"]),
    ("subtract-the-maximum", "p = «(a @ b).exp()» / (a @ b).exp().sum(dim=-1, keepdim=True)", "exp", (LARGE,),
     ["scores = a @ b", "p = (scores - scores.amax(dim=-1, keepdim=True)).exp() / (a @ b).exp().sum(dim=-1, keepdim=True)"]),
    ("subtract-the-maximum", "def spread(w):\n    return w / w.sum(dim=-1, keepdim=True)\n\n\np = spread(«torch.exp(z)») @ v", "exp",
     (LARGE,),
     ["p = spread(torch.exp(z - z.amax(dim=-1, keepdim=True))) @ v"]),
    ("subtract-the-maximum", "w = «torch.exp(z)» * mask\nw = w / w.sum(-1, keepdim=True)", "exp", (LARGE,),
     ["w = torch.exp(z.masked_fill(mask == 0, -1e9) - z.masked_fill(mask == 0, -1e9).amax(dim=-1, keepdim=True)) * mask"]),
    ("subtract-the-maximum", "e = «torch.exp(z)»\nm = e.masked_fill(pad, 0.0)\nm /= m.sum(2, keepdim=True) + 1e-9", "exp", (LARGE,),
     ["e = torch.exp(z - z.amax(dim=2, keepdim=True))"]),
    ("subtract-the-maximum", "raw = «z.exp()»\na = raw / raw.sum(1, keepdim=True)", "exp", (LARGE,),
     ["raw = (z - z.amax(dim=1, keepdim=True)).exp()"]),
    ("subtract-the-maximum", "raw = «self.score(h).exp()»\na = raw / raw.sum(1, keepdim=True)", "exp", (LARGE,),
     ["scores = self.score(h)", "raw = (scores - scores.amax(dim=1, keepdim=True)).exp()"]),
    ("subtract-the-maximum", "e = «torch.exp(s)»\nloss = -(e.diag() / e.sum(1)).log() - (e.diag() / e.sum(0)).log()", "exp", (LARGE,),
     ["e = torch.exp(s - s.amax())"]),
    ("compute-in-float32", "fit = «((a - b) ** 2).sum()» / clean.numel()", "sum", (LARGE,),
     ["fit = (((a - b) ** 2).float()).sum() / clean.numel()"]),
    ("compute-in-float32", "class Net(nn.Module):\n    def forward(self, c):\n        return «self.body(c)»", "matmul", (LARGE,),
     ["return self.body(c.float())"]),
    ("variance-from-deviations", "def unit(x):\n    m = x.sum(1, keepdim=True) / n\n"
     "    s = (x.pow(2).sum(1, keepdim=True) / n - m.pow(2)).sqrt()\n    return «(x - m) / s»", "div", (ZERO,),
     ["s = (((x - m) ** 2).sum(1, keepdim=True) / n).sqrt()"]),
    ("compute-in-float32", "gram = «x @ x.T»", "matmul", (LARGE,), ["gram = x.float() @ x.T.float()"]),
    ("compute-in-float32", "y = x / («rms + 1e-8»)", "add", (ZERO,), ["y = x / (rms.float() + 1e-8)"]),
    ("use-log-sum-exp", "total = torch.log(«torch.exp(z)».sum(dim=1))", "exp", (LARGE,), ["total = torch.logsumexp(z, dim=1)"]),
    ("use-log-sum-exp", "loss = (1 + «torch.exp(-margin * y)»).log().mean()", "exp", (LARGE,),
     ["loss = F.softplus(-margin * y).mean()"]),
    ("use-log-sum-exp", "p = 1 / (1 + «torch.exp(-z)»)", "exp", (LARGE,), ["p = torch.sigmoid(z)"]),
    ("use-log-sum-exp", "loss = «(a - b).cosh()».log().sum()", "cosh", (LARGE,),
     ["loss = (torch.logaddexp(z := a - b, -z) - 0.6931471805599453).sum()"]),
    ("use-log-sum-exp", "loss = torch.log(\n    «torch.cosh(r)»  # smooth\n).mean()", "cosh", (LARGE,),
     ["loss = (r.abs() + F.softplus(-2 * r.abs()) - 0.6931471805599453).mean()"]),
    ("masked-softmax", "class A(nn.Module):\n    def forward(self, s):\n        return «F.softmax(s, dim=-1)» @ self.v", "softmax", (INF,),
     ["empty = torch.isneginf(s).all(dim=-1, keepdim=True)",
      "return F.softmax(s.masked_fill(empty, 0.0), dim=-1).masked_fill(empty, 0.0) @ self.v"]),
    ("masked-softmax", "a = «(q @ k.T).masked_fill(m, -1e9).softmax(1)»", "softmax", (INF,),
     ["scores = (q @ k.T).masked_fill(m, -1e9)", "empty = torch.isneginf(scores).all(dim=1, keepdim=True)",
      "a = scores.masked_fill(empty, 0.0).softmax(1).masked_fill(empty, 0.0)"]),
    ("masked-softmax", "h, _ = «self.attend(q, h, h, key_padding_mask=~seen)»", "softmax", (INF,),
     ["padding = ~seen", "h, _ = self.attend(q, h, h, key_padding_mask=padding & ~padding.all(dim=1, keepdim=True))"]),
    ("masked-softmax", "h = «attend(q, h, h, attn_mask=m, need_weights=True)»[0]", "softmax", (INF,),
     ["h = attend(q, h, h, attn_mask=m & ~m.all(dim=-1, keepdim=True), need_weights=True)[0]"]),
    ("masked-softmax", "h = «F.scaled_dot_product_attention(q, k, v, attn_mask=m)»", "attention", (INF,),
     ["h = F.scaled_dot_product_attention(q, k, v, attn_mask=m | ~m.any(dim=-1, keepdim=True))"]),
    ("masked-softmax", "h = «attend(q, h, h, attn_mask=m, key_padding_mask=p)»[0]", "softmax", (INF,), None),
    ("skip-empty-reduction", "loss = «error[mask].mean()»", "mean", (ZERO,),
     ["loss = ((chosen := error[mask]).sum() / max(chosen.numel(), 1))"]),
    ("skip-empty-reduction", "loss = «F.cross_entropy(z, y, ignore_index=9)»", "nll_loss", (ZERO,),
     ['loss = (F.cross_entropy(z, y, ignore_index=9, reduction="sum") / (y != 9).sum().clamp(min=1))']),
    ("keep-inside-domain", "angle = «torch.acos((a * b).sum(1))»", "acos", (ZERO,),
     ["angle = torch.acos((a * b).sum(1).clamp(-1 + 1e-6, 1 - 1e-6))"]),
    ("keep-inside-domain", "c = «(1 - s ** 2) ** 0.5»", "sqrt", (ZERO,), ["s = 0.999 * torch.tanh(s)"]),
    ("keep-inside-domain", "c = «torch.sqrt(1 - s * s)»", "sqrt", (ZERO,), ["s = 0.999 * torch.tanh(s)"]),
    ("skip-empty-reduction", "loss = «F.mse_loss(box[found], boxes[found])»", "mse", (stats("box[found]", (0, 4)),),
     ["loss = (F.mse_loss(box[found], boxes[found]) if box[found].numel() else box[found].sum())"]),
    ("positive-by-construction", "std = «self.head(h).sqrt()»", "sqrt", (RAW,), ["std = (F.softplus(self.head(h)) + 1e-3).sqrt()"]),
    ("positive-by-construction", "loss = «torch.log(sigma)» + e / sigma", "log", (RAW,),
     ["sigma = F.softplus(sigma) + 1e-3"]),
    ("keep-one-element", "rows.append(«clip[first:last].mean(dim=0)»)", "mean", (ZERO,),
     ["rows.append(clip[first:max(last, first + 1)].mean(dim=0))"]),
    ("keep-one-element", "part = image[:, top : bottom, int(left) : int(right)]\nf = «part.amax((1, 2))»", "max", (ZERO,),
     ["part = image[:, top : max(bottom, top + 1), int(left) : max(int(right), int(left) + 1)]"]),
    ("keep-one-element", "f = «h.narrow(0, at, end - at).mean(0)»", "mean", (ZERO,), ["f = h.narrow(0, at, max(end - at, 1)).mean(0)"]),
    ("keep-one-element", "def crop(m, a, b):\n    return m[:, a:b]\n\n\nrow = «crop(m, *box).flatten(1).mean(-1)»", "mean", (ZERO,),
     ["return m[:, a:max(b, a + 1)]"]),
    ("add-jitter", "u, s, vh = «torch.linalg.svd(cross)»", "svd", (ZERO,),
     ["u, s, vh = torch.linalg.svd(cross + torch.linspace(0.0, 1e-4, cross.shape[-1], dtype=cross.dtype, device=cross.device)"
      ".diag_embed())"]),
    ("epsilon-inside-root", "def unit(q):\n    return «q / q.norm(dim=-1, keepdim=True)»", "div", (ZERO, ZERO),
     ["return q / (q.square().sum(dim=-1, keepdim=True) + 1e-6).sqrt()"]),
    ("epsilon-inside-root", "size = torch.sqrt(re ** 2 + im ** 2)\nphase = «re / size»", "div", (ZERO, ZERO),
     ["size = torch.sqrt(re ** 2 + im ** 2 + 1e-6)"]),
    ("epsilon-inside-root", "share = «a / a.sum()»", "div", (ZERO, ZERO), None),
    ("variance-from-deviations", "m = x.mean(1, keepdim=True)\ns = «((x ** 2).mean(1, keepdim=True) - m ** 2).sqrt()»", "sqrt", (RAW,),
     ["s = (x.var(1, keepdim=True, correction=0)).sqrt()"]),
    ("variance-from-deviations", "m = torch.mean(h * h, dim=0)\nvar = m - h.mean(dim=0).square()\ny = h * «torch.rsqrt(var)»", "rsqrt",
     (RAW,), ["var = h.var(dim=0, correction=0)"]),
    ("variance-from-deviations", "m = (w * x).sum() / n\ns = «torch.sqrt((w * x.pow(2)).sum() / n - m * m)»", "sqrt", (RAW,),
     ["s = torch.sqrt((w * (x - m) ** 2).sum() / n)"]),
    ("variance-from-deviations", "m = (w * x).sum(1)\ns = «((w * x.square()).sum(1) - m.square()).sqrt()»", "sqrt", (RAW,),
     ["s = ((w * (x - m.unsqueeze(1)) ** 2).sum(1)).sqrt()"]),
    ("variance-from-deviations", "m = x.sum(dim=-1) / n\ns = «torch.sqrt(torch.sum(x * x, dim=-1) / n - m * m)»", "sqrt", (RAW,),
     ["s = torch.sqrt(torch.sum((x - m.unsqueeze(-1)) ** 2, dim=-1) / n)"]),
    ("variance-from-deviations", "m = F.avg_pool2d(x, 3, stride=1)\nsq = F.avg_pool2d(x**2, 3, stride=1)\nv = sq - m**2\ns = «v.sqrt()»",
     "sqrt", (RAW,), ["v = (F.avg_pool2d(x.double() ** 2, 3, stride=1) - F.avg_pool2d(x.double(), 3, stride=1) ** 2 + 1e-6).to(x.dtype)"]),
    ("variance-from-deviations", "s = «torch.sqrt(F.conv1d(a * a, w) - F.conv1d(a, w).square())»", "sqrt", (RAW,),
     ["s = torch.sqrt((F.conv1d(a.double() ** 2, w.double()) - F.conv1d(a.double(), w.double()) ** 2 + 1e-6).to(a.dtype))"]),
    ("use-xlogy", "gap = t * «(t / F.softmax(z, dim=1)).log()»", "log", (ZERO,), ["gap = torch.xlogy(t, t) - t * F.log_softmax(z, dim=1)"]),
    ("use-xlogy", "def kl(p, z):\n    q = z.softmax(-1)\n    return (p * («torch.log(p)» - q.log())).sum(-1).mean()", "log", (ZERO,),
     ["return (torch.xlogy(p, p) - p * q.log()).sum(-1).mean()"]),
    ("use-xlogy", "def kl(p, z):\n    q = z.softmax(-1)\n    return -(p * «torch.log(p / q)»).sum()", "log", (ZERO,),
     ["return -(torch.xlogy(p, p) - p * z.log_softmax(-1)).sum()"]),
    ("use-xlogy", "lt = «y[i].log()»\nloss = 1 + (lt - s) * y[i]", "log", (ZERO,), ["loss = 1 + (torch.xlogy(y[i], y[i]) - y[i] * s)"]),
    ("subtract-the-maximum", "share = 0.5\ne = share * «torch.exp(z)»\np = e / e.sum(1, keepdim=True)", "exp", (LARGE,),
     ["e = share * torch.exp(z - z.amax(dim=1, keepdim=True))"]),
    ("use-xlogy", "q = F.softmax(z, 1)\nz = net(x)\nh = p * «(p / q).log()»", "log", (ZERO,), ["h = torch.xlogy(p, p) - p * q.log()"]),
    ("use-xlogy", "h = -(p * «p.log()»).sum()", "log", (ZERO,), ["h = -(torch.xlogy(p, p)).sum()"]),
    ("bound-the-exponent", "rate = «torch.exp(z)»", "exp", (LARGE,), ["rate = torch.exp(z.clamp(max=20) + (z - 20).clamp(min=0).log1p())"]),
    ("bound-the-exponent", "rate = «self.head(h).exp()»", "exp", (LARGE,),
     ["exponent = self.head(h)", "rate = (exponent.clamp(max=20) + (exponent - 20).clamp(min=0).log1p()).exp()"]),
    ("epsilon-inside-root", "d = «magnitude.pow(self.power)»", "pow", (ZERO,), None),
    ("divide-by-the-count", "v = «x.var(dim=0)»", "var", (ZERO,), ["v = x.var(dim=0, correction=0)"]),
    ("divide-by-the-count", "v = «torch.var(x, 0, unbiased=True)»", "var", (ZERO,), ["v = torch.var(x, 0, unbiased=False)"]),
    ("divide-by-the-count", "v, m = «torch.var_mean(x, dim=0)»", "var", (ZERO,), ["v, m = torch.var_mean(x, dim=0, correction=0)"]),
    ("divide-by-the-count", "s = «x.std(0)»", "std", (ZERO,), ["s = (x.var(0, correction=0) + 1e-12).sqrt()"]),
    ("raise-epsilon", "h = «F.group_norm(h, 8, eps=0.0)»", "group_norm", (ZERO,), ["h = F.group_norm(h, 8, eps=1e-5)"]),
    ("add-jitter", "L = «torch.linalg.cholesky(k(x))»", "cholesky", (ZERO,),
     ["matrix = k(x)",
      "L = torch.linalg.cholesky(matrix + 1e-4 * torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device))"]),
    ("zero-infinite-alignments", "ctc = nn.CTCLoss(\n    blank=0,  # first\n)\nloss = «ctc(p, t, n, m)»", "ctc_loss", (ZERO,),
     ["zero_infinity=True,"]),
    ("choose-before-operation", "target = r + g * («alive * best»)", "mul", (stats("alive", zero=3, min=0.0), INF),
     ["target = r + g * (alive * best.masked_fill(alive == 0, 0.0))"]),
    ("use-logits-loss", "loss = «F.binary_cross_entropy(torch.sigmoid(net(x)), y)»", "bce", (LOGITS,),
     ["loss = F.binary_cross_entropy_with_logits(net(x), y)"]),
    ("use-logits-loss", "def nll(p, y):\n    return -(y * p.log() + (1 - y) * «(1 - p).log()»).mean()\n\n\n"
     "loss = nll(net(x).sigmoid().squeeze(1), y)", "log", (LOGITS,), None),
    ("use-logits-loss", "def nll(p, y):\n    return -(y * p.log() + (1 - y) * «(1 - p).log()»).mean()\n\n\nloss = nll(net(x).sigmoid(), y)",
     "log", (LOGITS,),
     ["def nll(logits, y):", "return -(y * F.logsigmoid(logits) + (1 - y) * F.logsigmoid(-logits)).mean()", "loss = nll(net(x), y)"]),
])
def test_patches(remedy: str, body: str, op: str, inputs: tuple[TensorStats, ...], expected: list[str] | None) -> None:
    assert new_lines(remedy, body, op, *inputs) == expected


@pytest.mark.parametrize(("remedy", "body", "op", "inputs"), [
    ("subtract-the-maximum", "e = «torch.exp(z)»\nloss = e.mean()", "exp", (LARGE,)),  # no quotient: not the same number
    ("subtract-the-maximum", "e = «torch.exp(z)»\nloss = (e * w).sum(1) / n", "exp", (LARGE,)),
    ("variance-from-deviations", "s = «torch.sqrt((x ** 2).mean(0) - c ** 2)»", "sqrt", (RAW,)),
    ("variance-from-deviations", "m = (w * x).sum((1, 2))\ns = «((w * x.square()).sum((1, 2)) - m.square()).sqrt()»", "sqrt", (RAW,)),
    ("variance-from-deviations", "c = speed(t)\ns = «torch.sqrt((x ** 2).mean(0) - c ** 2)»", "sqrt", (RAW,)),
    ("variance-from-deviations", "m = pool(x)\nx = x + 1\ns = «torch.sqrt(pool(x * x) - m ** 2)»", "sqrt", (RAW,)),
    ("positive-by-construction", "s = «torch.log(counts)»", "log", (stats("counts", zero=2, min=0.0, made_by=("index",)),)),
    ("use-xlogy", "loss = -(y * «p.log()»).sum()", "log", (ZERO,)),
    ("use-xlogy", "lt = «t.log()»\nt = t * keep\nloss = (t * lt).sum()", "log", (ZERO,)),  # the logarithm of another number
    ("use-xlogy", "lt = «t.log()»\nprint(lt)\nloss = (t * (lt - s)).sum()", "log", (ZERO,)),
    ("bound-the-exponent", "import math\nr = «math.exp(z)»", "exp", (LARGE,)),
    ("keep-one-element", "loss = «error[2:5].mean()»", "mean", (ZERO,)),
    ("use-log-sum-exp", "loss = torch.log(2 + «torch.exp(z)»)", "exp", (LARGE,)),
    ("use-log-sum-exp", "rate = «torch.exp(z)»\nloss = (rate - y * z).mean()", "exp", (LARGE,)),
    ("use-logits-loss", "def nll(p, y):\n    print(p)\n    return -(y * «p.log()»).mean()\n\n\nloss = nll(net(x).sigmoid(), y)", "log",
     (LOGITS,)),
    ("use-logits-loss", "def nll(p, y):\n    return -(y * «p.log()»).mean()\n\n\na = nll(x.sigmoid(), y)\nb = nll(x, y)", "log", (LOGITS,)),
    ("choose-before-operation", "y = «1 / x»", "reciprocal", (ZERO,)),  # nothing discards the result
    ("positive-by-construction", "s = «torch.sqrt(a.square().sum(1))»", "sqrt", (stats("s", made_by=("sum", "pow")),)),
    ("keep-inside-domain", "import math\na = «math.acos(x)»", "acos", (ZERO,)),
])
def test_what_has_another_meaning_is_left_alone(remedy: str, body: str, op: str, inputs: tuple[TensorStats, ...]) -> None:
    assert new_lines(remedy, body, op, *inputs) is None


RECTIFIED = HEAD + """class Head(nn.Module):
    def __init__(self):
        self.wide = nn.Sequential(nn.Linear(8, 4), nn.Sequential(nn.Tanh(), nn.ReLU(inplace=True)))

    def forward(self, h):
        return {made}


def chain():
    return nn.Sequential(nn.Linear(8, 1), nn.ReLU())


built = chain()


def nll(e, sigma):
    return 0.5 * (\u00abe / sigma\u00bb) ** 2 + sigma.log()
"""


@pytest.mark.parametrize(("made", "zero", "expected"), [
    ("torch.relu(self.out(h) + 0.3)", 2, "return F.softplus(self.out(h) + 0.3) + 1e-3"),
    ("h, self.out(h).relu().squeeze(-1)", 2, "return h, (F.softplus(self.out(h)) + 1e-3).squeeze(-1)"),
    ("self.wide(h)", 2, "self.wide = nn.Sequential(nn.Linear(8, 4), nn.Sequential(nn.Tanh(), nn.Softplus()))"),
    ("self.out(h).clamp(min=0.0)", 2, "return F.softplus(self.out(h)) + 1e-3"),
    ("self.out(h).clamp(0, 6)", 2, None),
    ("self.other(h)", 2, None),
    ("built(h)", 2, "return nn.Sequential(nn.Linear(8, 1), nn.Softplus())"),
    ("torch.relu(self.out(h) + 0.3)", 0, None),
])
def test_a_scale_that_a_rectifier_made_is_mended_where_it_is_made(made: str, zero: int, expected: str | None) -> None:
    text = RECTIFIED.replace("{made}", made)
    lines = marked(text)[0].split("\n")
    line = next(number for number, one in enumerate(lines, 1) if "return" in one)
    by = ("clamp" if "clamp" in made else "relu", "add")
    scale = stats("sigma", zero=zero, min=0.0, max=2.0, culprit=0.0, made_by=by, made_at=Location("train.py", line))
    after = changed("positive-by-construction", text, "div", stats("e"), scale)
    found = None if after is None else [line[2:].strip() for line in changed_lines(marked(text)[0], after) if line.startswith("+")]
    assert found == (None if expected is None else [expected])


PADDING = [
    "class PadTo(nn.Module):", '"""Zeros at the end of what is smaller than `size`, along its last dimensions."""', "",
    "def __init__(self, *size):", "super().__init__()", "self.size = size", "",
    "def forward(self, x):", "missing = [max(0, least - given) for least, given in zip(self.size, x.shape[-len(self.size):])]",
    "return F.pad(x, [end for one in reversed(missing) for end in (0, one)])", "", "",
]


@pytest.mark.parametrize(("body", "op", "shape", "expected"), [
    ("pool = nn.AvgPool1d(6, stride=3)\ny = «pool(h)»", "avg_pool", (1, 16, 1, 5),
     ["y = pool(F.pad(h, (0, max(0, 6 - h.shape[-1]))))"]),
    ("class N(nn.Module):\n    def __init__(self):\n        self.a, self.b = nn.Conv2d(1, 8, (5, 3), padding=1), nn.Linear(2, 2)\n\n"
     "    def forward(self, x):\n        return «self.a(x)».relu()", "conv", (1, 1, 2, 9),
     ["return self.a(F.pad(x, (0, max(0, 1 - x.shape[-1]), 0, max(0, 3 - x.shape[-2])))).relu()"]),
    ("y = «F.max_pool1d(self.conv(h), 4, padding=1, dilation=2)»", "max_pool", (2, 8, 3),
     ["signal = self.conv(h)", "y = F.max_pool1d(F.pad(signal, (0, max(0, 5 - signal.shape[-1]))), 4, padding=1, dilation=2)"]),
    ("y = «F.conv1d(h, w)»", "conv", (2, 3, 4), ["y = F.conv1d(F.pad(h, (0, max(0, 5 - h.shape[-1]))), w)"]),
    ("net = nn.Sequential(nn.Conv1d(3, 8, 3), nn.AvgPool1d(2), nn.AvgPool1d(8))\ny = «net(h)»", "avg_pool", (2, 8, 6),
     [*PADDING, "net = nn.Sequential(nn.Conv1d(3, 8, 3), nn.AvgPool1d(2), PadTo(8), nn.AvgPool1d(8))"]),
    ("pool = nn.LPPool1d(2, 6, 3)\ny = «pool(h)»", "lp_pool", (2, 8, 4), ["y = pool(F.pad(h, (0, max(0, 6 - h.shape[-1]))))"]),
    ("y = «F.lp_pool1d(h, 2, 6)»", "lp_pool", (2, 8, 4), ["y = F.lp_pool1d(F.pad(h, (0, max(0, 6 - h.shape[-1]))), 2, 6)"]),
    ("layers = []\nlayers.append(nn.MaxPool2d(3))\nfor layer in layers:\n    h = «layer(h)»", "max_pool", (2, 8, 2, 2),
     [*PADDING, "layers.append(nn.Sequential(PadTo(3, 3), nn.MaxPool2d(3)))"]),
    ("pool = nn.AvgPool1d(k)\ny = «pool(h)»", "avg_pool", (1, 16, 1, 5), None),  # how large it is, only a run can tell
])
def test_what_is_shorter_than_a_kernel(body: str, op: str, shape: tuple[int, ...], expected: list[str] | None) -> None:
    given = (stats("h", shape), stats("w", (4, 3, 5)))
    assert new_lines("pad-to-the-kernel", body, op, *given, output=None) == expected


def test_what_is_computed_in_float32_goes_back_to_the_format_of_the_weights() -> None:
    text = HEAD + "def norm(x, gain):\n    return gain * («x / (x.square().mean(-1, keepdim=True).sqrt() + 1e-8)»)\n"
    after = changed("compute-in-float32", text, "div", ZERO, configuration=Configuration(parameter_dtypes=("float16",)))
    assert after is not None
    assert "return (gain * (x.float() / (x.square().mean(-1, keepdim=True).sqrt() + 1e-8))).to(x.dtype)" in after


def test_a_where_is_needed_for_a_double_where() -> None:
    body = "r = x.norm(dim=1)\nu = «x / r»\ny = torch.where(r > 0, u, 0.0)"
    where = Location("train.py", 8, code="y = torch.where(r > 0, u, 0.0)")
    assert new_lines("choose-before-operation", body, "div", ZERO, ZERO, absorbed_at=where) == ["u = x / r.masked_fill(r == 0, 1.0)"]
    clamp = Location("train.py", 8, code="y = u.clamp(min=0)")
    assert new_lines("choose-before-operation", body, "div", ZERO, ZERO, absorbed_at=clamp) is None


TRAINER = HEAD + '''class Trainer:
    def __init__(self, model, *, lr=0.5):
        self.opt = torch.optim.SGD(
            model.parameters(),
            lr=lr,  # the rate
        )

    def step(self, x, y):
        (loss := self.loss(x, y)).backward()
        self.opt.step()
        return loss
'''


def trainer(text: str = TRAINER, **rest: object) -> tuple[Case, dict[str, str]]:
    line = next(number for number, one in enumerate(text.split("\n"), 1) if "optim.SGD" in one)
    place = Location("train.py", 1)
    case = born(place, "mse", ZERO, step=9)
    info = OptimizerInfo("SGD", rates=(0.5,), location=Location("train.py", line))
    return msgspec.structs.replace(case, configuration=Configuration(optimizers=(info,)), **rest), {"train.py": text}


def patched_lines(remedy: str, case: Case, sources: dict[str, str]) -> list[str]:
    fix = next(offer.fix for offer in proposals(remedy, case, sources) if offer.fix is not None)
    return [line for line in changed_lines(sources["train.py"], patched(sources, fix)["train.py"]) if line.startswith("+")]


def test_what_is_done_to_updates() -> None:
    case, sources = trainer()
    assert patched_lines("clip-gradient-norm", case, sources) == [
        '+         nn.utils.clip_grad_norm_([p for group in self.opt.param_groups for p in group["params"]], 1.0)'
    ]
    assert patched_lines("zero-gradients", case, sources) == ["+         self.opt.zero_grad()"]


def test_gradients_are_unscaled_before_they_are_clipped() -> None:
    text = TRAINER.replace(".backward()", "").replace("self.opt.step()", "self.scaler.step(self.opt)")
    assert patched_lines("clip-gradient-norm", *trainer(text)) == [
        "+         self.scaler.unscale_(self.opt)",
        '+         nn.utils.clip_grad_norm_([p for group in self.opt.param_groups for p in group["params"]], 1.0)',
    ]


def test_a_step_past_the_scaler() -> None:
    text = TRAINER.replace("(loss := self.loss(x, y)).backward()", "self.scaler.scale(self.loss(x, y)).backward()")
    assert patched_lines("step-through-the-scaler", *trainer(text)) == [
        "+         self.scaler.step(self.opt)", "+         self.scaler.update()",
    ]


def test_a_step_past_the_scaler_in_a_branch_of_its_own() -> None:
    text = TRAINER.replace("(loss := self.loss(x, y)).backward()", "self.scaler.scale(self.loss(x, y)).backward()").replace(
        "        self.opt.step()\n", "        if self.full:\n            self.scaler.step(self.opt)\n            self.scaler.update()\n"
        "        else:\n            self.opt.step()\n            self.meter.update()\n")
    assert patched_lines("step-through-the-scaler", *trainer(text)) == [
        "+             self.scaler.step(self.opt)", "+             self.scaler.update()",
    ]


@pytest.mark.parametrize(("scale", "use", "expected"), [
    ("SCALE = 2.0**13\n", "SCALE", ["+ SCALE = 1.0"]),
    ("SETTINGS = {'scale': 8192}\n", "SETTINGS['scale']", ["+ SETTINGS = {'scale': 1.0}"]),
    ("", "8192.0", ["+         (self.loss(x, y) * 1.0).backward()", "+             p.grad /= 1.0"]),
    ("BUFFER, SCALE = 8192, 8192.0\n", "SCALE", ["+ BUFFER, SCALE = 8192, 1.0"]),
    ("A, B = 8192, 8192.0\n", "scale_of(A, B)", None),
])
def test_a_scale_by_hand(scale: str, use: str, expected: list[str] | None) -> None:
    text = TRAINER.replace("(loss := self.loss(x, y)).backward()", f"(self.loss(x, y) * {use}).backward()\n"
                           f"        for p in self.body.parameters():\n            p.grad /= {use}")
    scaling = LossScaling(misuses=(Misuse("not-divided", 1, 8192.0),))
    case, sources = trainer(scale + text)
    case = msgspec.structs.replace(case, configuration=msgspec.structs.replace(case.configuration, loss_scaling=scaling))
    if expected is None:
        assert all(offer.fix is None for offer in proposals("leave-the-loss-unscaled", case, sources))
    else:
        assert patched_lines("leave-the-loss-unscaled", case, sources) == expected


def test_moments_that_are_filled_by_hand() -> None:
    text = TRAINER + "\n\ndef restore(optimizer, saved):\n    for p in saved:\n        optimizer.state[p] = saved[p]\n        p.seen = 1\n"
    case, sources = trainer(text)
    fix = next(offer.fix for offer in proposals("reset-moments", case, sources))
    assert fix is not None and "optimizer.state[p]" not in patched(sources, fix)["train.py"]


def test_the_number_that_is_the_rate() -> None:
    line = next(number for number, one in enumerate(TRAINER.split("\n"), 1) if "lr=0.5" in one)
    column = TRAINER.split("\n")[line - 1].index("0.5")
    making = Making("rate", "optimizer[0]", "default", Location("train.py", line, column, line, column + 3))
    case, sources = trainer(makings=(making,))
    assert patched_lines("lower-learning-rate", case, sources) == ["+     def __init__(self, model, *, lr=0.05):"]
    offers = proposals("lower-learning-rate", case, sources)
    assert [offer.title for offer in offers] == [
        "Lower the learning rate from 0.5 to 0.05", "Lower the learning rate from 0.5 to 0.005",
        "Lower the learning rate from 0.5 to 0.0005",
    ]


@pytest.mark.parametrize("name", ["lower-learning-rate", "clip-gradient-norm", "zero-gradients", "initialise-by-fan-in",
                                  "guard-schedule", "initialise-parameter", "guard-class-weights"])
def test_without_a_source_there_is_a_sentence(name: str) -> None:
    case = born(Location("train.py", 1), "mse", ZERO)
    offers = proposals(name, msgspec.structs.replace(case, configuration=configuration()), {})
    assert offers and all(offer.fix is None and offer.reason and offer.applicability == "display-only" for offer in offers)


def test_formats_are_exchanged_where_they_stand() -> None:
    text = "import torch\nmodel = net().half()  # small\nwith torch.autocast('cuda', dtype=torch.float16):\n    pass\nnp.float16\n"
    fix = proposals("use-bfloat16", born(Location("train.py", 2), "mse", ZERO), {"train.py": text})[0].fix
    assert fix is not None
    assert patched({"train.py": text}, fix)["train.py"] == text.replace(".half()", ".bfloat16()").replace("torch.float16", "torch.bfloat16")


def test_minus_infinities_are_exchanged_where_they_stand() -> None:
    text = "import math\nimport torch\na = s.masked_fill(m, float('-inf'))\nb = s.masked_fill(m, -math.inf) - inf\nc = float('inf')\n"
    fix = proposals("use-finite-mask", born(Location("train.py", 3), "sub", ZERO), {"train.py": text})[0].fix
    assert fix is not None
    assert patched({"train.py": text}, fix)["train.py"] == text.replace("float('-inf')", "-1e4").replace("-math.inf", "-1e4")


@pytest.mark.parametrize(("given", "expected"), [
    ("loss = F.cross_entropy(z, y, label_smoothing=share)", "loss = F.cross_entropy(z, y, label_smoothing=0.0)"),
    ("criterion = nn.CrossEntropyLoss(label_smoothing=0.1)", "criterion = nn.CrossEntropyLoss(label_smoothing=0.0)"),
    ("loss = F.cross_entropy(z, y, label_smoothing=0.0)", None), ("loss = F.cross_entropy(z, y)", None),
])
def test_labels_are_not_smoothed_over_masked_classes(given: str, expected: str | None) -> None:
    text = f"import torch.nn.functional as F\nfrom torch import nn\n{given}\n"
    made = proposals("use-finite-mask", born(Location("train.py", 3), "sum", INF), {"train.py": text})
    assert [patched({"train.py": text}, one.fix)["train.py"] for one in made if one.fix is not None] == (
        [text.replace(given, expected)] if expected is not None else [])


def test_rows_of_a_table() -> None:
    text = "import torch\nimport pandas as pd\nframe = pd.read_csv('a.csv')  # raw\nx = torch.tensor(frame.values)\n"
    bad = stats("x", nan=3)
    makings = (Making("batch", "x", "table", Location("train.py", 4, 4, 4, 30, code="x = torch.tensor(frame.values)"), 1),
               Making("batch", "x", "table", Location("train.py", 3, 8, 3, 28, code="frame = pd.read_csv('a.csv')  # raw"), 2))
    case = msgspec.structs.replace(born(Location("train.py", 4), "input", bad, phase="data", batch=(bad,)), makings=makings)
    titles = [offer.title for offer in proposals("fill-missing", case, {"train.py": text})]
    assert titles == ["Fill what is missing at train.py:4 with the mean of its column",
                      "Fill what is missing at train.py:3 with the mean of its column"]
    assert patched_lines("drop-bad-rows", case, {"train.py": text}) == [
        "+ frame = frame.replace([float('inf'), float('-inf')], float('nan')).dropna()"
    ]


def test_a_value_that_was_written_into_a_table() -> None:
    text = "import torch\nreadings = torch.randn(100, 4)\nreadings[7, 2] = float('nan')\nx, y = readings[:90], readings[90:]\n"
    bad = stats("x", nan=1)
    making = Making("batch", "x", "table", Location("train.py", 2, 11, 2, 30, code="readings = torch.randn(100, 4)"), 1)
    written = Making("batch", "x", "write", Location("train.py", 3, 0, 3, 28, code="readings[7, 2] = float('nan')"), 1)
    origin = born(Location("train.py", 4), "input", bad, phase="data", batch=(bad,))
    case = msgspec.structs.replace(origin, makings=(making, written))
    offers = proposals("fill-missing", case, {"train.py": text})
    assert offers and all(offer.fix is not None for offer in offers)


def test_a_divisor_inside_of_an_update() -> None:
    plain, place = marked(HEAD + "class Rates(torch.optim.Optimizer):\n    def step(self):\n        for p in self.weights:\n"
                          "            rate = «p.norm() / p.grad.norm()»\n            p.sub_(rate * p.grad)\n")
    case = born(place, "optimizer_update", stats("p.norm()", max=3.0), ZERO, phase="optimizer")
    assert case.origin is not None
    divides, subtracts = (msgspec.structs.replace(case, origin=msgspec.structs.replace(case.origin, native_op=native))
                          for native in ("aten.div.Tensor", "aten.sub_.Tensor"))
    assert patched_lines("safe-divisor", divides, {"train.py": plain}) == [
        "+             length = p.grad.norm()", "+             rate = p.norm() / length.masked_fill(length == 0, 1.0)",
    ]
    assert not proposals("safe-divisor", subtracts, {"train.py": plain})


MEASURED = HEAD + '''def measure(norm, batches):
    square, mean = moments(batches)
    spread = square - mean * mean
    norm.running_var.copy_(spread)


def rate(model):
    return torch.optim.SGD(model.parameters(), lr=0.1)
'''


def test_statistics_that_are_none() -> None:
    place = Location("train.py", 7)
    info = OptimizerInfo("SGD", rates=(0.1,), location=Location("train.py", 13))
    below = born(place, "batch_norm", stats("running_var", min=-2.0))
    case = msgspec.structs.replace(below, configuration=Configuration(optimizers=(info,)))
    assert patched_lines("mend-the-statistics", case, {"train.py": MEASURED}) == [
        "+     spread = (square - mean * mean).clamp(min=0.0)",
    ]
    bad = msgspec.structs.replace(born(place, "batch_norm", stats("running_var", nan=1, min=0.5)), configuration=case.configuration)
    lines = patched_lines("mend-the-statistics", bad, {"train.py": MEASURED})
    assert lines[0] == "+     for part in model.modules():" and lines[-1] == "+             part.reset_running_stats()"
    assert not proposals("mend-the-statistics", born(place, "batch_norm", ZERO), {"train.py": MEASURED})


@pytest.mark.parametrize(("line", "expected"), [
    ("self.offset = fill(log)", ["+         new_offset = fill(log)",
                                 "+         self.offset = torch.where(new_offset.isfinite(), new_offset, self.offset)"]),
    ("self.offset.copy_(seen)", ["+         self.offset.copy_(torch.where(seen.isfinite(), seen, self.offset))"]),
    ("self.offset.data.lerp_(seen, 0.1)", ["+         self.offset.data.lerp_(torch.where(seen.isfinite(), seen, self.offset), 0.1)"]),
    ("self.other = fill(log)", []),
])
def test_a_buffer_keeps_what_it_had_where_nothing_was_measured(line: str, expected: list[str]) -> None:
    text = HEAD + "class Shop(nn.Module):\n    def __init__(self):\n        self.offset = None\n\n"
    text += f"    def refresh(self, log, seen):\n        {line}\n"
    case = born(Location("train.py", 11), "buffer", stats("offset", nan=3), phase="load")
    assert case.origin is not None
    case = msgspec.structs.replace(case, origin=msgspec.structs.replace(case.origin, buffer="shop.offset"))
    offers = proposals("mend-the-statistics", case, {"train.py": text})
    assert (patched_lines("mend-the-statistics", case, {"train.py": text}) if offers else []) == expected
    assert proposals("mend-the-statistics", case, {"train.py": text + f"\n    def again(self, log, seen):\n        {line}\n"}) == []


@pytest.mark.parametrize(("formula", "rates", "expected"), [
    ("base * count / warmup", (0.05, 8.0), ["+     rate = base * min(1.0, count / warmup)"]),
    ("base * share(count)", (0.05, 8.0), ["+     return min(1.0, count / 20)"]),
    ("0.1 + (1 - 0.1) * (1 - count / 90)", (0.1, -0.1), ["+     rate = 0.1 + (1 - 0.1) * (max(0.0, 1 - count / 90))"]),
    ("base * (1 - count / 90)", (0.1, -0.1), ["+     rate = base * (max(0.0, 1 - count / 90))"]),
    ("base * numpy.float32(count) / warmup", (0.1, "nan"), ["+     rate = base * numpy.float32(count) / max(warmup, 1)"]),
    ("base * numpy.power(1 - count / (90 - warmup), 0.9)", (0.1, "nan"),
     ["+     rate = base * numpy.power(max(0.0, 1 - count / (90 - warmup)), 0.9)"]),
    ("base * (1 - count / (90 - warmup)) ** 0.9", (0.1, "nan"), ["+     rate = base * (max(0.0, 1 - count / (90 - warmup))) ** 0.9"]),
])
def test_a_schedule_within_its_bounds(formula: str, rates: tuple[float | str, ...], expected: list[str]) -> None:
    text = f"def share(count):\n    return count / 20\n\n\ndef schedule(optimizer, base, count, warmup):\n    rate = {formula}\n" \
        "    for group in optimizer.param_groups:\n        group['lr'] = rate\n"
    at = Location("train.py", 6 if "90" in formula or "numpy" in formula else 8)
    case = msgspec.structs.replace(
        born(at, "mse", ZERO, step=9), windows=(Window("learning_rate", (0, 1), rates),),
        configuration=Configuration(optimizers=(OptimizerInfo("SGD", rates=rates[-1:], rated_at=at),)),
    )
    assert patched_lines("guard-schedule", case, {"train.py": text}) == expected


@pytest.mark.parametrize(("settings", "use", "expected"), [
    ("cfg = SimpleNamespace(width=0.5, rate=0.5)\n", "lr=cfg.rate", ["+ cfg = SimpleNamespace(width=0.5, rate=0.05)"]),
    ("cfg = {'sgd': {'lr': 0.5}}\n", "**cfg['sgd']", ["+ cfg = {'sgd': {'lr': 0.05}}"]),
    ("cfg = {'lr': 0.5, 'other': {'lr': 0.5}}\n", "**cfg", None),
    ("batch = 64\n", "lr=batch / 128", ["+             lr=0.1 * (batch / 128)"]),
    ("def enlarge(opt, batch):\n    for group in opt.param_groups:\n        group['lr'] = 0.1 * batch / 64\n", "lr=0.1",
     ["+         group['lr'] = 0.1 * (0.1 * batch / 64)"]),
    ("def halve(opt):\n    for group in opt.param_groups:\n        group['lr'] = group['lr'] / 2\n", "**cfg", None),
])
def test_a_rate_by_its_name_and_value(settings: str, use: str, expected: list[str] | None) -> None:
    text = TRAINER.replace(", *, lr=0.5", "").replace("lr=lr,  # the rate", use).replace("class Trainer", f"{settings}\n\nclass Trainer")
    case, sources = trainer(text)
    if expected is None:
        assert all(offer.fix is None for offer in proposals("lower-learning-rate", case, sources))
    else:
        assert patched_lines("lower-learning-rate", case, sources) == expected


@pytest.mark.parametrize(("forward", "patch"), [
    ("x / x.norm(dim=-1, keepdim=True)", True), ("(x * x).sum(-1) ** 0.5", True), ("torch.sin(x) / x", True),
    ("x / torch.expm1(x)", False), ("(1 - torch.cos(x)) / x", False), ("x * x * x / (x * x)", False),
])
def test_a_derivative_is_zero_only_where_the_slope_is(forward: str, patch: bool) -> None:
    text, place = marked(HEAD + "class Quotient(torch.autograd.Function):\n    @staticmethod\n    def forward(ctx, x):\n"
                         f"        ctx.save_for_backward(x)\n        return {forward}\n\n    @staticmethod\n"
                         "    def backward(ctx, up):\n        (d,) = ctx.saved_tensors\n        return «up * d / d**2»\n")
    case = born(msgspec.structs.replace(place, function="Quotient.backward"), "div", ZERO, ZERO, phase="backward")
    trace = msgspec.structs.replace(case.trace, functions=(CustomFunction("Quotient", "backward", place, place),))
    offers = proposals("safe-divisor", msgspec.structs.replace(case, trace=trace), {"train.py": text})
    assert [one.fix is not None for one in offers] == [True] * patch
