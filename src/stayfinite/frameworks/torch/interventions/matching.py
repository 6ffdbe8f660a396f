"""Which of torch's Python-level functions is which kind of operator, and where its operands stand in the call.

Interventions act above automatic differentiation, where calls are Python functions and tensor methods (``F.softmax``,
``Tensor.__rtruediv__``); places name the kinds of dispatched operators. A function is of several kinds where it computes
several: `cross_entropy` is a log-softmax and a negative log-likelihood too. What a name does not tell, a look at the operators
that it dispatches does (`dispatched`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from stayfinite.frameworks.torch.ops import KINDS, kind_of
from stayfinite.frameworks.torch.stats import quietly

_OPERATORS = {
    "truediv": "div", "rtruediv": "div", "itruediv": "div", "rdiv": "div", "idiv": "div", "floordiv": "div", "rfloordiv": "div",
    "ifloordiv": "div", "mod": "div", "rmod": "div", "imod": "div", "rpow": "pow", "ipow": "pow", "getitem": "index",
    "setitem": "scatter", "rmatmul": "matmul", "imul": "mul", "rmul": "mul", "iadd": "add", "radd": "add", "isub": "sub",
    "float_power": "pow", "arccosh": "acosh", "arcsinh": "asinh", "arctanh": "atanh", "concat": "move", "column_stack": "move",
    "flatten": "move", "ravel": "move", "unflatten": "move", "movedim": "move", "moveaxis": "move", "swapaxes": "move",
    "swapdims": "move", "expand_as": "move", "view_as": "move", "reshape_as": "move", "broadcast_to": "move",
    "atleast_1d": "move", "atleast_2d": "move", "atleast_3d": "move", "tile": "move", "pad": "move", "row_stack": "move",
    "adjoint": "move", "diagflat": "move", "tensor_split": "move", "einsum": "matmul", "tensordot": "matmul", "inner": "matmul",
    "chain_matmul": "matmul", "multi_dot": "matmul", "vecdot": "matmul", "kron": "mul", "cross": "mul", "double": "cast",
    "float": "cast", "half": "cast", "bfloat16": "cast", "to": "cast", "type": "cast", "type_as": "cast", "dist": "norm",
    "matrix_power": "matmul", "relu6": "activation", "expit": "sigmoid", "psi": "digamma", "multigammaln": "lgamma",
    "group_norm": "group_norm", "fold": "move", "interpolate": "avg_pool", "grid_sample": "avg_pool", "ldexp": "mul",
    "tensorsolve": "solve", "tensorinv": "inverse", "lu_factor": "solve", "ldl_factor": "cholesky", "frexp": "move",
    "count_nonzero": "count", "cov": "matmul", "corrcoef": "matmul", "diff": "sub", "greater": "compare", "less": "compare",
    "greater_equal": "compare", "less_equal": "compare", "not_equal": "compare",
}
"""Python's names of operators, without their underscores, and functions that are made of others."""
_ALSO: dict[str, tuple[str, ...]] = {
    "cross_entropy": ("cross_entropy", "log_softmax", "nll_loss"),
    "nll_loss": ("nll_loss",),
    "binary_cross_entropy": ("bce",),
    "binary_cross_entropy_with_logits": ("bce_with_logits",),
    "normalize": ("norm", "div", "normalize"),
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
    "nuclear_norm": ("norm", "svd"),
    "frobenius_norm": ("norm",),
    "logdet": ("logdet", "log", "det"),
    "slogdet": ("logdet",),
    "cond": ("svd", "norm", "div"),
    "matrix_rank": ("svd",),
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
    "floordiv": ("div", "round"),
    "corrcoef": ("matmul", "div", "sqrt"),
}
"""Functions that compute more kinds than their own name says, or whose name is none of a dispatched operator."""
_COMPOSITE = frozenset({
    "normalize", "gumbel_softmax", "multi_head_attention_forward", "gaussian_nll_loss", "poisson_nll_loss", "pairwise_distance",
    "cosine_embedding_loss", "triplet_margin_loss", "cond", "corrcoef", "cov", "triplet_margin_with_distance_loss",
    "multilabel_soft_margin_loss", "local_response_norm", "lp_pool1d", "lp_pool2d", "lp_pool3d", "linear", "bilinear", "einsum",
})
"""Functions whose operands are not those of the operators they are made of."""


@lru_cache(maxsize=2048)
def name_of(function: Any) -> str:
    """The last name of a function or tensor method, without the marks of operators and in-place forms."""
    name = str(getattr(function, "__name__", ""))
    return name.strip("_") if name not in ("__get__", "__set__") else ""


@lru_cache(maxsize=2048)
def kinds_of(function: Any) -> frozenset[str]:
    """The kinds of operators that `function` computes, by its name; empty for what is none (``Tensor.size``)."""
    name = name_of(function)
    plain = _plain(name)
    own = _own(plain)
    return frozenset((*((own,) if own else ()), *_ALSO.get(name, _ALSO.get(plain, ()))))


def _plain(name: str) -> str:
    plain = name.removeprefix("special_").removeprefix("linalg_").removesuffix("_with_indices")
    return _OPERATORS.get(plain, plain)


def _own(plain: str) -> str | None:
    """The kind of the operator that a function is, or ``None``."""
    own = KINDS.get(plain) or KINDS.get(f"linalg_{plain}") or KINDS.get(f"special_{plain}")
    if own is None and plain in KINDS.values():
        own = plain
    if own is None and plain.startswith("fft_"):
        own = "fft"
    if own is None and plain.endswith("_cell"):
        own = "rnn"
    if own is None and plain[-2:] in ("1d", "2d", "3d"):
        own = KINDS.get(plain[:-2]) or ("conv" if plain.startswith("conv") else None)
    return own


@lru_cache(maxsize=2048)
def is_in_place(function: Any) -> bool:
    """True if `function` writes into its first argument: ``Tensor.log_``, ``Tensor.__itruediv__``, ``x[...] = y``."""
    name = str(getattr(function, "__name__", ""))
    if name.startswith("__"):
        return name == "__setitem__" or (name.startswith("__i") and name not in ("__invert__", "__index__", "__int__"))
    return name.endswith("_")


# -- what a function dispatches ------------------------------------------------------------------------------------------


class _Listening(TorchDispatchMode):
    """Notes the kinds of the operators that run."""

    def __init__(self) -> None:
        super().__init__()
        self.kinds: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.kinds.add(kind_of(func.overloadpacket.__name__))
        return func(*args, **(kwargs or {}))


def apart(value: Tensor) -> Tensor:
    """A copy of `value` that nothing is differentiated through."""
    return value.detach().clone()


def dispatched(function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> frozenset[str]:
    """The kinds of the operators that the call runs, found by running it on copies; empty if it raises."""
    listening = _Listening()
    generators = torch.get_rng_state()
    try:
        with quietly(), listening:
            function(*tree_map_only(Tensor, apart, tuple(args)), **tree_map_only(Tensor, apart, dict(kwargs)))
    except Exception:  # what cannot be run on copies has the kinds of its name
        pass
    finally:
        torch.set_rng_state(generators)
    return frozenset(listening.kinds - {"move", "fill", "empty", "cast", "unknown"})


# -- operands ------------------------------------------------------------------------------------------------------------

_KEYWORDS = (
    ("input", "self", "x", "A", "matrix", "mean", "log_probs", "condition"),
    ("other", "exponent", "target", "mat2", "tensor2", "weight", "vec2", "B", "std", "index", "y"),
    ("weight", "tensor2", "var", "value"),
)
"""What torch calls the first three operands where they are given by keyword."""
_BY_TENSOR = frozenset({
    "gather", "index_select", "scatter", "scatter_add", "scatter_reduce", "index_add", "index_copy", "index_fill", "index_reduce",
    "getitem", "setitem", "index_put", "take_along_dim", "cat", "stack", "concat", "einsum", "where", "addcmul", "addcdiv",
})
"""Functions with other arguments between their tensors, or with lists of them: operands are counted among tensors."""


def _is_operand(value: Any) -> bool:
    return isinstance(value, (Tensor, int, float)) and not isinstance(value, bool)


def operand_key(function: Any, args: Sequence[Any], kwargs: Mapping[str, Any], kind: str, operand: int) -> int | str | None:
    """Where `operand` (counted as a dispatched operator of `kind` counts its inputs) stands: an index of `args`, a keyword, or
    ``None`` if it is no argument of this function."""
    name = name_of(function)
    if name in _COMPOSITE and _own(_plain(name)) != kind:
        return None
    if name in ("rtruediv", "rdiv", "rfloordiv", "rmod"):  # Python hands a reflected operator its right side first: the divisor
        operand = 0
    elif name in ("rpow", "rsub", "rmatmul") and operand < 2:
        operand = 1 - operand
    elif name == "embedding" and operand < 2 and getattr(function, "__module__", "") == "torch.nn.functional":
        operand = 1 - operand  # the dispatched operator is given the table first
    if name in _BY_TENSOR:
        tensors = [place for place, value in enumerate(args) if isinstance(value, Tensor)]
        if operand < len(tensors):
            return tensors[operand]
        return next((key for key in ("index", "indices", "src") if isinstance(kwargs.get(key), Tensor)), None) if operand else None
    if operand < len(args) and _is_operand(args[operand]):
        return operand
    if operand < len(_KEYWORDS):
        return next((key for key in _KEYWORDS[operand] if key in kwargs and _is_operand(kwargs[key])), None)
    return None


def operand_keys(args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[int | str]:
    """Where the floating-point tensors of a call stand."""
    places: list[int | str] = [place for place, value in enumerate(args) if _is_float(value)]
    return places + [key for key, value in kwargs.items() if _is_float(value)]


def _is_float(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()
