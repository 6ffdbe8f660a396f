"""The closed vocabulary of operator kinds: what every framework's operators are called here, and where they break.

Frameworks map their own names onto these (`aten.log.default` -> ``"log"``), causes reason with these only. A kind says
where its operator is defined, where its slope has no finite value, from which argument on its result leaves the
floating-point format, and what to write instead. Everything is plain data and pure functions on plain floats.

Which names go where, where it is not obvious:

- ``matmul`` is every product that sums over an axis: mm, addmm, bmm, baddbmm, mv, dot, linear, einsum;
  ``conv`` is every convolution, transposed ones included.
- ``log`` is also log2 and log10; ``exp`` is also expm1; ``pow`` is also square, float_power and cbrt (the exponent is
  a `Scalar` named ``"exponent"`` or the second input); ``max`` and ``min`` are also amax, amin, maximum, minimum.
- ``div`` is also true_divide, addcdiv, remainder and fmod; its second operand is the divisor.
- ``cross_entropy`` is a fused one; a framework that splits it gives ``log_softmax`` and ``nll_loss``.
- ``count`` is a number of occurrences: bincount, histograms, unique with its counts.
- ``move`` is everything that only carries values: views, copies, cat, stack, pad, gather without arithmetic.
- ``input``, ``parameter``, ``buffer``, ``moment`` and ``gradient`` are not operators: they are the kind of an origin
  that was there before the step computed anything.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from stayfinite.catalog.dtypes import DTYPES as DTYPES
from stayfinite.catalog.dtypes import DtypeFacts as DtypeFacts
from stayfinite.catalog.dtypes import dtype_facts as dtype_facts

Trait = Literal[
    "reduction", "batch-coupled", "squares", "exponentiates", "accumulates", "selects", "loss", "moves", "leaf"
]


def _everywhere(x: float) -> bool:
    return True


def _nowhere(x: float) -> bool:
    return False


def _flat(x: float) -> float:
    return 0.0


def _one_over(x: float) -> float:
    return 1.0 / abs(x) if x else math.inf


def _no_limit(facts: DtypeFacts) -> float:
    return math.inf


def _log_of_largest(facts: DtypeFacts) -> float:
    return math.log(facts.largest)


def _log_of_twice_largest(facts: DtypeFacts) -> float:
    return math.log(facts.largest) + math.log(2.0)


def _root_of_largest(facts: DtypeFacts) -> float:
    return math.sqrt(facts.largest)


@dataclass(frozen=True)
class OpKind:
    """One kind of operator.

    **Fields**

    - `name`: the canonical name. `operand`: index of the input that `in_domain`, `singular` and `limit` speak of.
    - `domain`: where the operator has a finite value, in words; `in_domain(x)`: the same for a finite float.
    - `singular(x)`: the operator may have a value at `x`, but its derivative has none or an infinite one;
      `singular_at`: the same in words. `slope(x)`: the magnitude of the derivative near a singular point where it grows
      like 1/x: it leaves the format before `x` gets there, at the numbers below the smallest normal one.
    - `limit(facts)`: the largest magnitude of the argument for which the result is finite in that format, ``inf`` if
      the operator itself does not grow that far; `limit_formula`: where the number comes from.
    - `alternative`: what to write instead, in words; empty if there is nothing better.
    - `traits`: closed set, see `Trait`. ``"batch-coupled"``: one row of the batch changes the result of others.
    """

    name: str
    domain: str = "everywhere"
    in_domain: Callable[[float], bool] = _everywhere
    operand: int = 0
    singular_at: str = ""
    singular: Callable[[float], bool] = _nowhere
    slope: Callable[[float], float] = _flat
    limit: Callable[[DtypeFacts], float] = _no_limit
    limit_formula: str = ""
    alternative: str = ""
    traits: frozenset[Trait] = frozenset()

    def has(self, trait: Trait) -> bool:
        """True if the kind carries `trait`."""
        return trait in self.traits

    def overflow_limit(self, dtype: str) -> float:
        """The largest magnitude of the argument with a finite result in `dtype`; ``inf`` where there is none."""
        facts = dtype_facts(dtype)
        return self.limit(facts) if facts is not None else math.inf

    def too_steep(self, x: float, dtype: str) -> bool:
        """True if the operator has a value at `x` and `dtype` cannot hold its slope there."""
        facts = dtype_facts(dtype)
        return facts is not None and self.in_domain(x) and not self.singular(x) and self.slope(x) > facts.largest


def _traits(*names: Trait) -> frozenset[Trait]:
    return frozenset(names)


_PER_ELEMENT = "sqrt(largest finite), for one element"


def _carrying(*names: str, traits: frozenset[Trait] = frozenset()) -> tuple[OpKind, ...]:
    return tuple(OpKind(name, traits=traits) for name in names)


_KINDS: tuple[OpKind, ...] = (
    # arithmetic
    *_carrying("add", "sub", "mul", "neg", "abs", "sign", "round", "compare", "lerp"),
    OpKind(
        "div", operand=1, domain="divisor != 0", in_domain=lambda x: x != 0.0,
        singular_at="divisor 0", singular=lambda x: x == 0.0,
        alternative="choose the divisor before dividing: x / where(d != 0, d, 1)",
    ),
    OpKind(
        "reciprocal", domain="x != 0", in_domain=lambda x: x != 0.0, singular_at="0", singular=lambda x: x == 0.0,
        alternative="choose the argument before inverting: 1 / where(x != 0, x, 1)",
    ),
    # exponentials and logarithms
    OpKind(
        "exp", limit=_log_of_largest, limit_formula="ln(largest finite)",
        alternative="stay in log space, or bound the argument", traits=_traits("exponentiates"),
    ),
    OpKind(
        "exp2", limit=lambda f: math.log2(f.largest), limit_formula="log2(largest finite)",
        alternative="stay in log space, or bound the argument", traits=_traits("exponentiates"),
    ),
    OpKind(
        "log", domain="x > 0", in_domain=lambda x: x > 0.0, singular_at="0", singular=lambda x: x == 0.0, slope=_one_over,
        alternative="compute the logarithm directly: log_softmax, logsigmoid, log1p, or a loss on logits",
    ),
    OpKind(
        "log1p", domain="x > -1", in_domain=lambda x: x > -1.0, singular_at="-1", singular=lambda x: x == -1.0,
        alternative="compute the logarithm directly from logits",
    ),
    OpKind(
        "xlogy", operand=1, domain="y > 0, or x == 0", in_domain=lambda x: x >= 0.0,
        singular_at="y = 0", singular=lambda x: x == 0.0, slope=_one_over, alternative="a loss on logits",
    ),
    OpKind(
        "logit", domain="0 < x < 1", in_domain=lambda x: 0.0 < x < 1.0,
        singular_at="0 and 1", singular=lambda x: x in (0.0, 1.0), slope=_one_over,
        alternative="keep the logits the probability came from",
    ),
    # powers and roots
    OpKind(
        "pow", domain="base > 0, or an integer exponent with base != 0, or base 0 with exponent >= 0",
        in_domain=lambda x: x >= 0.0, singular_at="base 0 with an exponent below 1", singular=lambda x: x == 0.0,
        limit=_root_of_largest, limit_formula="(largest finite)^(1/exponent); here for exponent 2",
        alternative="for exponents below 1 keep the base above 0", traits=_traits("squares"),
    ),
    OpKind(
        "sqrt", domain="x >= 0", in_domain=lambda x: x >= 0.0, singular_at="0", singular=lambda x: x == 0.0,
        alternative="sqrt(x + eps), with eps inside the root",
    ),
    OpKind(
        "rsqrt", domain="x > 0", in_domain=lambda x: x > 0.0, singular_at="0", singular=lambda x: x == 0.0,
        alternative="rsqrt(x + eps), with eps inside the root",
    ),
    # trigonometric and hyperbolic
    *_carrying("sin", "cos", "atan", "tanh", "asinh"),
    OpKind("tan", domain="cos(x) != 0", singular_at="odd multiples of pi/2",
           alternative="sin(x) and cos(x) apart, or atan2"),
    OpKind(
        "acos", domain="-1 <= x <= 1", in_domain=lambda x: -1.0 <= x <= 1.0, singular_at="-1 and 1",
        singular=lambda x: abs(x) == 1.0, alternative="atan2(norm of the cross product, dot product)",
    ),
    OpKind(
        "asin", domain="-1 <= x <= 1", in_domain=lambda x: -1.0 <= x <= 1.0, singular_at="-1 and 1",
        singular=lambda x: abs(x) == 1.0, alternative="atan2 of the two legs",
    ),
    OpKind(
        "acosh", domain="x >= 1", in_domain=lambda x: x >= 1.0, singular_at="1", singular=lambda x: x == 1.0,
        alternative="keep the argument above 1 by construction, for example 1 + softplus(z)",
    ),
    OpKind(
        "atanh", domain="-1 < x < 1", in_domain=lambda x: -1.0 < x < 1.0, singular_at="-1 and 1",
        singular=lambda x: abs(x) == 1.0, alternative="bound the argument away from -1 and 1 before",
    ),
    OpKind("atan2", singular_at="both operands 0", singular=lambda x: x == 0.0,
           alternative="keep one operand away from 0"),
    OpKind(
        "sinh", limit=_log_of_twice_largest, limit_formula="ln(2 * largest finite)",
        alternative="bound the argument", traits=_traits("exponentiates"),
    ),
    OpKind(
        "cosh", limit=_log_of_twice_largest, limit_formula="ln(2 * largest finite)",
        alternative="|x| + softplus(-2|x|) - ln 2 for its logarithm", traits=_traits("exponentiates"),
    ),
    # special functions
    OpKind("lgamma", domain="not 0 and not a negative integer",
           in_domain=lambda x: not (x <= 0.0 and x == math.floor(x)),
           singular_at="0 and the negative integers", singular=lambda x: x <= 0.0 and x == math.floor(x),
           alternative="keep the argument positive: softplus(z) + eps"),
    OpKind("digamma", domain="not 0 and not a negative integer",
           in_domain=lambda x: not (x <= 0.0 and x == math.floor(x)),
           singular_at="0 and the negative integers", singular=lambda x: x <= 0.0 and x == math.floor(x),
           alternative="keep the argument positive: softplus(z) + eps"),
    OpKind("erfinv", domain="-1 < x < 1", in_domain=lambda x: -1.0 < x < 1.0,
           singular_at="-1 and 1", singular=lambda x: abs(x) == 1.0,
           alternative="bound the argument away from -1 and 1 before"),
    *_carrying("erf", "bessel"),
    # activations
    *_carrying("relu", "sigmoid", "softplus", "logsigmoid", "elu", "gelu", "silu", "activation"),
    # softmax family
    OpKind("softmax", domain="at least one entry of each row above -inf",
           alternative="leave one entry of every row visible, or zero the row after a softmax over finite numbers",
           traits=_traits("reduction")),
    OpKind("log_softmax", domain="at least one entry of each row above -inf",
           alternative="leave one entry of every row visible", traits=_traits("reduction")),
    OpKind("logsumexp", domain="at least one entry of each row above -inf",
           alternative="leave one entry of every row visible", traits=_traits("reduction")),
    # reductions
    OpKind("sum", traits=_traits("reduction")),
    OpKind("cumsum", traits=_traits("reduction")),
    OpKind("prod", alternative="the exponential of a sum of logarithms", traits=_traits("reduction")),
    OpKind("mean", domain="at least one element", alternative="sum divided by the count, the count at least 1",
           traits=_traits("reduction")),
    OpKind("var", domain="at least two elements (one without Bessel's correction)",
           alternative="correction=0, or a guard on the count", traits=_traits("reduction", "squares"),
           limit=_root_of_largest, limit_formula=_PER_ELEMENT),
    OpKind("std", domain="at least two elements (one without Bessel's correction)",
           singular_at="no spread", alternative="sqrt(var + eps), or a guard on the count",
           traits=_traits("reduction", "squares"), limit=_root_of_largest, limit_formula=_PER_ELEMENT),
    OpKind("norm", singular_at="the zero vector", singular=lambda x: x == 0.0,
           alternative="sqrt(sum of squares + eps)", traits=_traits("reduction", "squares"),
           limit=_root_of_largest, limit_formula=_PER_ELEMENT),
    *_carrying("max", "min", "median", "quantile", "sort", traits=_traits("reduction")),
    # products
    *_carrying("matmul", "conv", "fft", traits=_traits("accumulates")),
    OpKind("distance", singular_at="two equal points", alternative="sqrt(squared distance + eps)",
           traits=_traits("squares"), limit=_root_of_largest, limit_formula=_PER_ELEMENT),
    OpKind("rnn", traits=_traits("accumulates")),
    OpKind("attention", domain="at least one visible key per query", alternative="leave one key of every query visible",
           traits=_traits("reduction", "accumulates")),
    OpKind("embedding", domain="0 <= index < rows of the table"),
    # losses
    OpKind("cross_entropy", domain="0 <= label < classes, and at least one label that is not ignored",
           operand=1, alternative="sum over the labels that count, divided by their number, at least 1",
           traits=_traits("loss", "reduction")),
    OpKind("nll_loss", domain="0 <= label < classes, and at least one label that is not ignored",
           operand=1, alternative="sum over the labels that count, divided by their number, at least 1",
           traits=_traits("loss", "reduction")),
    OpKind("bce", domain="0 <= probability <= 1", in_domain=lambda x: 0.0 <= x <= 1.0,
           alternative="binary cross-entropy on logits", traits=_traits("loss", "reduction")),
    OpKind("bce_with_logits", domain="finite logits", traits=_traits("loss", "reduction")),
    OpKind("mse", alternative="scale the target, or a Huber loss", traits=_traits("loss", "reduction", "squares"),
           limit=_root_of_largest, limit_formula=_PER_ELEMENT),
    *_carrying("l1_loss", "smooth_l1", "hinge", "poisson_nll", "gaussian_nll", traits=_traits("loss", "reduction")),
    OpKind("kl_div", domain="input in log space, target >= 0", operand=1, in_domain=lambda x: x >= 0.0,
           traits=_traits("loss", "reduction")),
    OpKind("ctc_loss", domain="input length >= target length + repeated labels",
           alternative="drop samples that cannot be aligned, or zero_infinity=True",
           traits=_traits("loss", "reduction")),
    OpKind("cosine_similarity", singular_at="the zero vector", singular=lambda x: x == 0.0,
           alternative="eps as large as the vectors' noise", traits=_traits("reduction", "squares"),
           limit=_root_of_largest, limit_formula=_PER_ELEMENT),
    # normalisation
    OpKind("normalize", singular_at="the zero vector", singular=lambda x: x == 0.0,
           alternative="x * rsqrt(sum of squares + eps)", traits=_traits("reduction", "squares"),
           limit=_root_of_largest, limit_formula=_PER_ELEMENT),
    OpKind("batch_norm", domain="more than one value per channel when training",
           alternative="drop the last short batch, or a normalisation without the batch",
           traits=_traits("reduction", "squares", "batch-coupled"), limit=_root_of_largest, limit_formula=_PER_ELEMENT),
    OpKind("layer_norm", traits=_traits("reduction", "squares"), limit=_root_of_largest, limit_formula=_PER_ELEMENT),
    OpKind("group_norm", traits=_traits("reduction", "squares"), limit=_root_of_largest, limit_formula=_PER_ELEMENT),
    OpKind("rms_norm", traits=_traits("reduction", "squares"), limit=_root_of_largest, limit_formula=_PER_ELEMENT),
    # selection
    *_carrying("where", "masked_fill", "clamp", "nan_to_num", "max_pool", traits=_traits("selects")),
    OpKind("index", domain="0 <= index < extent", traits=_traits("selects")),
    OpKind("avg_pool", domain="at least one element in the window", traits=_traits("reduction")),
    *_carrying("scatter", "dropout", "count"),
    # carrying and making
    *_carrying("move", "fill", "empty", traits=_traits("moves")),
    OpKind("cast", limit=lambda f: f.largest, limit_formula="largest finite of the format cast to",
           alternative="a format with more range: bfloat16 or float32", traits=_traits("moves")),
    OpKind("sample", domain="probabilities >= 0 with a positive sum, scales > 0", in_domain=lambda x: x >= 0.0),
    OpKind("distribution", domain="parameters within the distribution's support"),
    # matrix decompositions
    OpKind("cholesky", domain="symmetric positive definite", alternative="add eps to the diagonal"),
    OpKind("svd", domain="finite matrix", singular_at="equal or zero singular values",
           alternative="svdvals where only the values are needed; a small random perturbation of the matrix"),
    OpKind("eigh", domain="finite symmetric matrix", singular_at="equal eigenvalues",
           alternative="eigvalsh where only the values are needed"),
    OpKind("eig", domain="finite square matrix", singular_at="equal eigenvalues",
           alternative="eigh if it is symmetric"),
    OpKind("qr", domain="full column rank", singular_at="rank below the number of columns"),
    OpKind("det", domain="square", singular_at="determinant 0", alternative="slogdet"),
    OpKind("logdet", domain="determinant > 0", singular_at="determinant 0",
           alternative="twice the sum of log of the Cholesky diagonal"),
    OpKind("inverse", domain="determinant != 0", singular_at="determinant 0",
           alternative="solve, with eps on the diagonal"),
    OpKind("solve", domain="determinant != 0", singular_at="determinant 0",
           alternative="eps on the diagonal, or lstsq"),
    # the training step itself
    OpKind("optimizer_update", alternative="parameters and moments in float32"),
    *_carrying("unscale", "clip_gradients", "accumulate", "all_reduce"),
    # leaves: origins that no operator made
    *_carrying("input", "parameter", "buffer", "moment", "gradient", "learning_rate", traits=_traits("leaf")),
    # operators that are not the framework's own: extensions, kernels written by hand
    OpKind("custom"),
    OpKind("unknown"),
)

KINDS: MappingProxyType[str, OpKind] = MappingProxyType({kind.name: kind for kind in _KINDS})
"""Every kind by name. Closed: a framework maps what it does not know to ``"unknown"``."""

DECOMPOSITIONS = frozenset({"cholesky", "svd", "eigh", "eig", "qr", "det", "logdet", "inverse", "solve"})
"""Kinds whose domain or slope depends on the spectrum of a matrix."""


def op_kind(name: str) -> OpKind:
    """The kind called `name`; the kind ``"unknown"`` for any other text."""
    return KINDS.get(name, KINDS["unknown"])


def power_limit(exponent: float, dtype: str) -> float:
    """Largest base with a finite base^exponent in `dtype`: largest^(1/exponent) for exponents above 0.

    For negative exponents it is the *smallest* base with a finite result, largest^(1/exponent) as well. ``inf`` for
    exponent 0 and for formats not listed.
    """
    facts = dtype_facts(dtype)
    if facts is None or exponent == 0.0 or not math.isfinite(exponent):
        return math.inf
    logarithm = math.log(facts.largest) / exponent
    if logarithm > 709.0:
        return math.inf
    return math.exp(logarithm) if logarithm > -745.0 else 0.0


def power_in_domain(base: float, exponent: float) -> bool:
    """True if base^exponent is a finite real number in exact arithmetic."""
    if base > 0.0:
        return True
    if base == 0.0:
        return exponent >= 0.0
    return exponent == math.floor(exponent)


def power_is_singular(base: float, exponent: float) -> bool:
    """True if d/dbase base^exponent has no finite value: base 0 with an exponent below 1, except 0."""
    return base == 0.0 and exponent < 1.0 and exponent != 0.0
