"""The names of torch's operators in the closed vocabulary."""

from __future__ import annotations

import pytest
import torch

from stayfinite.catalog import ops as vocabulary
from stayfinite.frameworks.torch import ops
from stayfinite.frameworks.torch.tracing.operands import stored_text
from stayfinite.frameworks.torch.tracing.recipes import recipe_of


def test_every_kind_is_a_word_of_the_vocabulary() -> None:
    assert set(ops.KINDS.values()) <= set(vocabulary.KINDS)


@pytest.mark.parametrize("kinds", [ops.SINGULAR, ops.GATES, ops.FILLING, ops.LOSSES, ops.ALIGNED, ops.DECOMPOSITIONS])
def test_every_set_of_kinds_is_of_the_vocabulary(kinds: frozenset[str]) -> None:
    assert kinds <= set(vocabulary.KINDS)


def test_the_decompositions_agree() -> None:
    assert ops.DECOMPOSITIONS == vocabulary.DECOMPOSITIONS


def test_every_loss_of_the_vocabulary_is_a_loss_here() -> None:
    assert {kind.name for kind in vocabulary.KINDS.values() if kind.has("loss")} == set(ops.LOSSES)


@pytest.mark.parametrize(
    ("func", "kind"),
    [
        (torch.ops.aten.log_.default, "log"),
        (torch.ops.aten._foreach_addcdiv_.Scalar, "div"),
        (torch.ops.aten._softmax_backward_data.default, "softmax"),
        (torch.ops.aten._log_softmax.default, "log_softmax"),
        (torch.ops.aten.convolution_backward.default, "conv"),
        (torch.ops.aten.native_layer_norm_backward.default, "layer_norm"),
        (torch.ops.aten.nll_loss2d_forward.default, "nll_loss"),
        (torch.ops.aten.nll_loss_backward.default, "nll_loss"),
        (torch.ops.aten.linalg_vector_norm.default, "norm"),
        (torch.ops.aten.max_pool2d_with_indices_backward.default, "max_pool"),
        (torch.ops.aten.embedding_dense_backward.default, "embedding"),
        (torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward.default, "attention"),
        (torch.ops.aten._fused_adamw_.default, "optimizer_update"),
        (torch.ops.aten._cdist_backward.default, "distance"),
        (torch.ops.aten.threshold_backward.default, "relu"),
        (torch.ops.aten.sigmoid_backward.default, "sigmoid"),
        (torch.ops.aten.binary_cross_entropy_with_logits.default, "bce_with_logits"),
        (torch.ops.aten.mse_loss_backward.default, "mse"),
        (torch.ops.aten._native_batch_norm_legit.default, "batch_norm"),
        (torch.ops.aten.upsample_nearest2d.default, "move"),
        (torch.ops.aten.masked_fill_.Scalar, "masked_fill"),
        (torch.ops.aten.index_put_.default, "scatter"),
        (torch.ops.aten.new_empty_strided.default, "empty"),
        (torch.ops.aten._linalg_svd.default, "svd"),
        (torch.ops.aten.pow.Tensor_Scalar, "pow"),
        (torch.ops.aten.rsub.Scalar, "sub"),
    ],
)
def test_names_of_real_operators(func: torch._ops.OpOverload, kind: str) -> None:
    assert recipe_of(func).kind == kind


def test_an_operator_of_somebody_else_is_told_from_torchs_own() -> None:
    torch.library.define("stayfinite_test::log", "(Tensor x) -> Tensor")
    assert recipe_of(torch.ops.stayfinite_test.log.default).kind == "custom"


def test_a_view_that_is_given_as_a_copy_is_that_view() -> None:
    assert [ops.kind_of(name) for name in ("diagonal_copy", "expand_copy", "index_copy", "_to_copy")] == ["move", "move", "scatter", "cast"]


def test_how_much_of_torch_has_a_kind() -> None:
    """Half of the names that are left out are private, quantized or of single devices; this only keeps it from
    shrinking."""
    names = {
        name.partition("::")[2].partition(".")[0]
        for name in torch._C._dispatch_get_all_op_names()
        if name.startswith("aten::")
    }
    known = {name for name in names if ops.kind_of(name) != "unknown"}
    assert len(known) > 600


def test_what_a_recipe_knows() -> None:
    add = recipe_of(torch.ops.aten.add_.Tensor)
    assert add.written == {"self"} and add.reads_written and add.pointwise
    copy = recipe_of(torch.ops.aten.copy_.default)
    assert copy.written == {"self"} and not copy.reads_written
    out = recipe_of(torch.ops.aten.log.out)
    assert out.written == {"out"} and not out.reads_written
    assert recipe_of(torch.ops.aten.view.default).view
    assert not recipe_of(torch.ops.aten.lift_fresh.default).view
    assert recipe_of(torch.ops.aten.empty_like.default).uninitialised
    assert recipe_of(torch.ops.aten.ones_like.default).shape_only
    assert recipe_of(torch.ops.aten.native_batch_norm.default).written == {"running_mean", "running_var"}
    assert recipe_of(torch.ops.aten._foreach_add_.List).listed


@pytest.mark.parametrize(
    ("line", "target", "said"),
    [
        ('x[2, 1] = float("nan")', "x[2, 1]", 'float("nan")'),
        ("x[0] = y[1] = math.nan", "y[1]", "math.nan"),
        ("x[0] = 1", "x[2]", None),
        ("x = math.nan", "x", None),
        ("for x[0] in", "x[0]", None),
    ],
)
def test_what_an_assignment_to_an_item_stores(line: str, target: str, said: str | None) -> None:
    assert stored_text(line, target) == said
