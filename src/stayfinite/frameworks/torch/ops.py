"""What torch's operators are called in the closed vocabulary of operator kinds, and how each one moves values.

The right-hand sides are operator names as the dispatcher spells them, without namespace, overload, the in-place mark
and the `_foreach_` prefix; a backward operator has the kind of its forward one. Fused kernels stand beside what they
fuse. A name that is nowhere below is ``"unknown"``.
"""

from __future__ import annotations

import re

_NAMES: dict[str, str] = {
    "add": "add",
    "sub": "sub rsub subtract",
    "mul": "mul multiply addcmul ger outer masked_scale",
    "neg": "neg negative",
    "abs": "abs absolute angle",
    "sign": "sign sgn copysign heaviside signbit",
    "round": "round floor ceil trunc frac fix",
    "compare": "eq ne lt le gt ge isnan isinf isfinite isposinf isneginf isclose equal logical_and logical_or"
    " logical_not logical_xor any all",
    "lerp": "lerp",
    "div": "div divide true_divide floor_divide addcdiv remainder fmod",
    "reciprocal": "reciprocal",
    "exp": "exp expm1 special_expm1 linalg_matrix_exp matrix_exp",
    "exp2": "exp2 special_exp2",
    "log": "log log2 log10",
    "log1p": "log1p special_log1p",
    "xlogy": "xlogy special_xlogy special_xlog1py special_entr",
    "logit": "logit special_logit",
    "pow": "pow square float_power",
    "sqrt": "sqrt",
    "rsqrt": "rsqrt",
    "sin": "sin sinc special_sinc",
    "cos": "cos",
    "tan": "tan",
    "tanh": "tanh",
    "sinh": "sinh",
    "cosh": "cosh",
    "asin": "asin arcsin",
    "acos": "acos arccos",
    "atan": "atan arctan",
    "atan2": "atan2 arctan2",
    "asinh": "asinh",
    "acosh": "acosh",
    "atanh": "atanh",
    "lgamma": "lgamma mvlgamma special_gammaln",
    "digamma": "digamma polygamma special_zeta",
    "erf": "erf erfc special_erfcx special_ndtr special_log_ndtr",
    "erfinv": "erfinv special_ndtri",
    "bessel": "i0 special_i0e special_i1 special_i1e special_bessel_j0 special_bessel_j1 special_bessel_y0"
    " special_bessel_y1 special_modified_bessel_i0 special_modified_bessel_i1 special_modified_bessel_k0"
    " special_modified_bessel_k1",
    "relu": "relu threshold",
    "sigmoid": "sigmoid",
    "softplus": "softplus",
    "logsigmoid": "log_sigmoid_forward log_sigmoid",
    "elu": "elu celu selu",
    "gelu": "gelu",
    "silu": "silu",
    "activation": "leaky_relu hardtanh hardswish hardsigmoid mish prelu prelu_kernel rrelu rrelu_with_noise glu"
    " softshrink hardshrink",
    "softmax": "softmax safe_softmax masked_softmax sparse_softmax",
    "log_softmax": "log_softmax sparse_log_softmax",
    "logsumexp": "logsumexp logaddexp logaddexp2 logcumsumexp",
    "sum": "sum nansum trace",
    "cumsum": "cumsum",
    "prod": "prod cumprod",
    "mean": "mean nanmean",
    "var": "var var_mean",
    "std": "std std_mean",
    "norm": "norm native_norm linalg_vector_norm linalg_matrix_norm frobenius_norm renorm hypot weight_norm_interface",
    "max": "max amax maximum fmax cummax aminmax argmax",
    "min": "min amin minimum fmin cummin argmin",
    "median": "median nanmedian kthvalue mode",
    "quantile": "quantile nanquantile",
    "sort": "sort topk msort argsort",
    "matmul": "mm addmm bmm baddbmm addbmm mv addmv dot vdot addr linear matmul scaled_mm addmm_activation"
    " mkldnn_linear sparse_addmm sparse_mm sparse_sampled_addmm trilinear int_mm grouped_mm",
    "conv": "convolution convolution_overrideable conv_transpose1d mkldnn_convolution cudnn_convolution"
    " cudnn_convolution_transpose miopen_convolution slow_conv2d_forward slow_conv2d slow_conv3d"
    " slow_conv3d_forward slow_conv_transpose2d slow_conv_transpose3d slow_conv_dilated2d slow_conv_dilated3d"
    " conv_depthwise2d conv_depthwise3d conv_tbc mps_convolution",
    "fft": "fft_r2c fft_c2r fft_c2c stft istft",
    "distance": "cdist_forward cdist pdist_forward pdist euclidean_dist pairwise_distance",
    "rnn": "mkldnn_rnn_layer lstm gru rnn_tanh rnn_relu thnn_fused_lstm_cell thnn_fused_gru_cell cudnn_rnn miopen_rnn"
    " lstm_mps",
    "attention": "scaled_dot_product_flash_attention scaled_dot_product_flash_attention_for_cpu"
    " scaled_dot_product_efficient_attention scaled_dot_product_cudnn_attention"
    " scaled_dot_product_fused_attention_overrideable scaled_dot_product_attention_math_for_mps"
    " flash_attention_forward efficient_attention_forward flash_attention efficient_attention"
    " native_multi_head_attention transformer_encoder_layer_fwd triton_scaled_dot_attention"
    " triton_multi_head_attention cudnn_attention_forward",
    "embedding": "embedding embedding_bag embedding_bag_forward_only embedding_renorm embedding_dense"
    " embedding_sparse embedding_bag_dense one_hot",
    "nll_loss": "nll_loss_forward nll_loss nll_loss2d_forward nll_loss2d",
    "cross_entropy": "cross_entropy_loss linear_cross_entropy",
    "bce": "binary_cross_entropy",
    "bce_with_logits": "binary_cross_entropy_with_logits",
    "mse": "mse_loss",
    "l1_loss": "l1_loss",
    "smooth_l1": "smooth_l1_loss huber_loss",
    "hinge": "multi_margin_loss multilabel_margin_loss_forward multilabel_margin_loss soft_margin_loss"
    " hinge_embedding_loss",
    "kl_div": "kl_div",
    "poisson_nll": "poisson_nll_loss",
    "gaussian_nll": "gaussian_nll_loss",
    "ctc_loss": "ctc_loss cudnn_ctc_loss",
    "cosine_similarity": "cosine_similarity",
    "batch_norm": "native_batch_norm native_batch_norm_legit native_batch_norm_legit_no_training batch_norm_with_update"
    " batch_norm_no_update batch_norm instance_norm cudnn_batch_norm miopen_batch_norm batch_norm_stats batch_norm_elemt"
    " batch_norm_gather_stats batch_norm_gather_stats_with_counts batch_norm_update_stats"
    " batch_norm_impl_index batch_norm_reduce native_batch_norm_legit_functional",
    "layer_norm": "native_layer_norm",
    "group_norm": "native_group_norm",
    "rms_norm": "fused_rms_norm rms_norm",
    "where": "where s_where",
    "masked_fill": "masked_fill",
    "clamp": "clamp clamp_min clamp_max clip",
    "nan_to_num": "nan_to_num",
    "max_pool": "max_pool1d max_pool2d_with_indices max_pool3d_with_indices adaptive_max_pool2d adaptive_max_pool3d"
    " fractional_max_pool2d fractional_max_pool3d mkldnn_max_pool2d mkldnn_max_pool3d max_pool2d max_pool3d",
    "avg_pool": "avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d"
    " mkldnn_adaptive_avg_pool2d upsample_bilinear2d upsample_bilinear2d_aa upsample_bicubic2d"
    " upsample_bicubic2d_aa upsample_linear1d upsample_trilinear3d grid_sampler_2d grid_sampler_3d",
    "index": "index index_select gather take masked_select unsafe_index take_along_dim unsafe_masked_index nonzero",
    "scatter": "scatter scatter_add scatter_reduce index_put index_put_impl unsafe_index_put index_add index_copy"
    " index_fill index_reduce put segment_reduce select_scatter slice_scatter diagonal_scatter"
    " as_strided_scatter masked_scatter unsafe_masked_index_put_accumulate",
    "count": "bincount histc histogram unique unique2 unique_consecutive unique_dim unique_dim_consecutive",
    "dropout": "native_dropout fused_dropout dropout alpha_dropout feature_dropout",
    "move": "view reshape reshape_alias as_strided alias detach clone copy copy_to cat stack expand permute transpose t"
    " select slice narrow squeeze unsqueeze split split_with_sizes chunk unbind diagonal unfold repeat"
    " repeat_interleave constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d"
    " replication_pad2d replication_pad3d roll flip rot90 triu tril diag diag_embed im2col col2im pixel_shuffle"
    " pixel_unshuffle channel_shuffle view_as_real view_as_complex real imag complex polar conj conj_physical"
    " resolve_conj resolve_neg"
    " contiguous unsafe_view unsafe_split hstack vstack dstack block_diag upsample_nearest1d upsample_nearest2d"
    " upsample_nearest3d upsample_nearest_exact1d upsample_nearest_exact2d pack_padded_sequence"
    " pad_packed_sequence to_dense to_sparse sparse_coo_tensor_with_dims_and_tensors coalesce indices values"
    " nested_view_from_buffer nested_tensor_from_mask to_padded_tensor lift lift_fresh_copy"
    " slice_backward select_backward concatenate pin_memory item local_scalar_dense resize set",
    "fill": "fill full full_like new_full zeros zeros_like new_zeros ones ones_like new_ones zero scalar_tensor eye"
    " arange linspace logspace lift_fresh range new_zeros efficientzerotensor vander tril_indices triu_indices"
    " hann_window hamming_window bartlett_window blackman_window kaiser_window fill_diagonal",
    "empty": "empty empty_like new_empty empty_strided new_empty_strided empty_permuted empty_quantized",
    "cast": "to_copy to_dtype_layout",
    "sample": "rand randn rand_like randn_like randint randint_like randperm normal normal_functional uniform bernoulli"
    " multinomial poisson exponential cauchy geometric log_normal random binomial standard_gamma dirichlet_grad"
    " sample_dirichlet standard_gamma_grad",
    "cholesky": "linalg_cholesky_ex linalg_cholesky cholesky cholesky_inverse linalg_ldl_factor_ex linalg_check_errors",
    "svd": "linalg_svd linalg_svdvals svd",
    "eigh": "linalg_eigh linalg_eigvalsh",
    "eig": "linalg_eig linalg_eigvals",
    "qr": "linalg_qr geqrf linalg_householder_product ormqr",
    "det": "linalg_det det",
    "logdet": "linalg_slogdet slogdet logdet",
    "inverse": "linalg_inv_ex linalg_inv inverse linalg_pinv pinverse",
    "solve": "linalg_solve_ex linalg_solve linalg_lu_solve linalg_solve_triangular triangular_solve cholesky_solve"
    " linalg_lstsq linalg_lu_factor_ex linalg_lu linalg_ldl_solve lu_unpack",
    "optimizer_update": "fused_adam fused_adamw fused_sgd fused_adagrad",
    "unscale": "amp_foreach_non_finite_check_and_unscale amp_update_scale",
    "all_reduce": "allreduce all_reduce allreduce_coalesced reduce_scatter_tensor reduce_scatter all_gather_into_tensor"
    " reduce_scatter_base",
}

KINDS: dict[str, str] = {name: kind for kind, names in _NAMES.items() for name in names.split()}
"""Operator name -> kind."""

SINGULAR = frozenset(
    {
        "div",
        "reciprocal",
        "exp",
        "exp2",
        "log",
        "log1p",
        "xlogy",
        "logit",
        "pow",
        "sqrt",
        "rsqrt",
        "tan",
        "acos",
        "asin",
        "acosh",
        "atanh",
        "atan2",
        "sinh",
        "cosh",
        "lgamma",
        "digamma",
        "erfinv",
        "prod",
        "var",
        "std",
        "norm",
        "max",
        "min",
        "where",
        "clamp",
        "distance",
        "cosine_similarity",
        "logsumexp",
        "cholesky",
        "svd",
        "eigh",
        "eig",
        "qr",
        "det",
        "logdet",
        "inverse",
        "solve",
        "abs",
        "bce",
        "kl_div",
        "cast",
    }
)
"""Kinds whose slope may be bad where their value is not: their forward inputs are what proves the case."""

GATES = frozenset(
    {
        "where",
        "masked_fill",
        "clamp",
        "max",
        "min",
        "index",
        "scatter",
        "nan_to_num",
        "relu",
        "max_pool",
        "dropout",
        "mul",
    }
)
"""Kinds whose backward sends an exact zero to the elements that were not chosen."""

FILLING = frozenset({"fill", "masked_fill", "where", "scatter", "move", "clamp", "max", "min", "index", "max_pool"})
"""Kinds in which an infinity that stands in the call is a choice of the author, not the result of arithmetic."""

LOSSES = frozenset(
    {
        "nll_loss",
        "cross_entropy",
        "bce",
        "bce_with_logits",
        "mse",
        "l1_loss",
        "smooth_l1",
        "hinge",
        "kl_div",
        "poisson_nll",
        "gaussian_nll",
        "ctc_loss",
    }
)
"""Kinds that are a loss wherever they are called."""

ALIGNED = frozenset(
    {
        "softmax",
        "log_softmax",
        "where",
        "masked_fill",
        "clamp",
        "cast",
        "dropout",
        "nan_to_num",
        "layer_norm",
        "batch_norm",
        "group_norm",
        "rms_norm",
        "fill",
        "move",
        "scatter",
        "cumsum",
        "prod",
        "elu",
        "gelu",
        "silu",
        "sample",
    }
)
"""Kinds besides the element-wise ones whose output element i belongs to input element i where the shapes are equal."""

DECOMPOSITIONS = frozenset({"cholesky", "svd", "eigh", "eig", "qr", "det", "logdet", "inverse", "solve"})
"""Kinds that report failure through an error code."""

WRITES_ONLY = frozenset(
    {
        "copy_",
        "fill_",
        "zero_",
        "normal_",
        "uniform_",
        "random_",
        "bernoulli_",
        "exponential_",
        "geometric_",
        "cauchy_",
        "log_normal_",
        "eye_",
        "_foreach_copy_",
        "_foreach_zero_",
        "set_",
        "resize_",
        "resize_as_",
    }
)
"""In-place operators that do not read what they overwrite."""

CONTROL = frozenset(
    {
        "isnan",
        "isinf",
        "isfinite",
        "isposinf",
        "isneginf",
        "equal",
        "allclose",
        "is_nonzero",
    }
)
"""Operators that only ask about values: reading a bad one here is no step of the data flow."""

_BACKWARD = re.compile(r"(_(double_)?backward(_data|_input|_weight|_bias|_reduce|_elemt|_cpu|_cuda)*|_grad)$")


def kind_of(name: str) -> str:
    """The kind of the operator called `name` (``"log_"``, ``"_foreach_add"``, ``"_softmax_backward_data"``)."""
    plain = name.removeprefix("_foreach_").strip("_")
    if plain in KINDS:
        return KINDS[plain]
    if plain.endswith("_copy") and plain[:-5] in KINDS:  # a view that is given as a tensor of its own: `diagonal_copy`
        return KINDS[plain[:-5]]
    forward = _BACKWARD.sub("", plain)
    return KINDS.get(forward) or KINDS.get(forward.replace("_backward", "")) or "unknown"
