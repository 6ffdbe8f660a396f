"""Which of torch's Python-level functions is which kind of operator, and where its operands stand in the call.

Interventions act above automatic differentiation, where calls are Python functions and tensor methods (``F.softmax``,
``Tensor.__rtruediv__``); places name the kinds of dispatched operators. A function is of several kinds where it computes
several: `cross_entropy` is a log-softmax and a negative log-likelihood too.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from torch import Tensor

from stayfinite.frameworks.torch.ops import KINDS

_OPERATORS = {
    "truediv": "div", "rtruediv": "div", "itruediv": "div", "rdiv": "div", "idiv": "div", "rpow": "pow", "ipow": "pow",
    "getitem": "index", "setitem": "scatter", "rmatmul": "matmul", "imul": "mul", "rmul": "mul", "iadd": "add", "radd": "add",
    "isub": "sub", "float_power": "pow",
}
"""Python's names of operators, without their underscores."""
_ALSO: dict[str, tuple[str, ...]] = {
    "cross_entropy": ("cross_entropy", "log_softmax", "nll_loss"),
    "nll_loss": ("nll_loss",),
    "binary_cross_entropy": ("bce",),
    "binary_cross_entropy_with_logits": ("bce_with_logits",),
    "normalize": ("norm", "div"),
    "softmin": ("softmax",),
    "gumbel_softmax": ("softmax", "log"),
    "multi_head_attention_forward": ("attention", "softmax", "matmul"),
    "scaled_dot_product_attention": ("attention", "softmax"),
    "gaussian_nll_loss": ("gaussian_nll", "log", "div"),
    "poisson_nll_loss": ("poisson_nll", "log", "exp"),
    "kl_div": ("kl_div", "xlogy", "log"),
    "cdist": ("distance",),
    "pairwise_distance": ("distance", "norm"),
    "cosine_similarity": ("cosine_similarity", "div", "norm"),
    "cosine_embedding_loss": ("cosine_similarity", "div", "sqrt"),
    "triplet_margin_loss": ("distance", "norm"),
    "rtruediv": ("div", "reciprocal"),
    "rdiv": ("div", "reciprocal"),
    "softplus": ("softplus", "exp", "log1p"),
    "logaddexp": ("logsumexp",),
    "std": ("std", "var", "sqrt"),
    "std_mean": ("std", "var", "sqrt"),
    "vector_norm": ("norm",),
    "matrix_norm": ("norm",),
    "frobenius_norm": ("norm",),
    "logdet": ("logdet", "log", "det"),
    "slogdet": ("logdet",),
    "cholesky": ("cholesky",),
    "layer_norm": ("layer_norm", "rsqrt", "var"),
    "batch_norm": ("batch_norm",),
    "instance_norm": ("batch_norm",),
    "linear": ("matmul",),
    "bilinear": ("matmul",),
    "mse_loss": ("mse", "pow", "mean"),
    "ctc_loss": ("ctc_loss",),
    "log_softmax": ("log_softmax",),
    "logit": ("logit", "log", "div"),
    "var_mean": ("var",),
    "rms_norm": ("rms_norm", "rsqrt", "pow", "mean"),
}
"""Functions that compute more kinds than their own name says, or whose name is none of a dispatched operator."""


@lru_cache(maxsize=2048)
def name_of(function: Any) -> str:
    """The last name of a function or tensor method, without the marks of operators and in-place forms."""
    name = str(getattr(function, "__name__", ""))
    return name.strip("_") if name not in ("__get__", "__set__") else ""


@lru_cache(maxsize=2048)
def kinds_of(function: Any) -> frozenset[str]:
    """The kinds of operators that `function` computes; empty for what is none (``Tensor.size``)."""
    name = name_of(function)
    plain = _OPERATORS.get(name, name).removeprefix("special_").removeprefix("linalg_")
    own = KINDS.get(plain) or KINDS.get(f"linalg_{plain}")
    if own is None and plain[-2:] in ("1d", "2d", "3d"):
        own = KINDS.get(plain[:-2]) or ("conv" if plain.startswith("conv") else None)
    return frozenset((*((own,) if own else ()), *_ALSO.get(name, _ALSO.get(plain, ()))))


_KEYWORDS = (("input", "self", "x", "matrix"), ("other", "exponent", "target", "mat2", "tensor2", "weight"))
"""What torch calls the first and the second operand where they are given by keyword."""


def operand_key(function: Any, args: Sequence[Any], kwargs: dict[str, Any], operand: int) -> int | str | None:
    """Where `operand` (counted as a dispatched operator counts its inputs) stands: an index of `args`, a keyword, or ``None``."""
    name = name_of(function)
    if name in ("rtruediv", "rdiv"):  # Python hands a reflected operator its right side first: here the divisor
        operand = 0
    elif name in ("rpow", "rsub") and operand < 2:
        operand = 1 - operand
    if operand < len(args) and isinstance(args[operand], (Tensor, int, float)) and not isinstance(args[operand], bool):
        return operand
    if operand < len(_KEYWORDS):
        return next((key for key in _KEYWORDS[operand] if isinstance(kwargs.get(key), (Tensor, int, float))), None)
    return None
