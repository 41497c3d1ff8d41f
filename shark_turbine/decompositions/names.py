# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The operators that PyTorch's own decompositions take apart, by name.

Not the core-ATen table: that one decomposes operators which the compiler lowers well as they are,
and into ones that it does not lower. An operator stands here because the compiler does not know it,
or because it does not compile whole (docs/op-support.md).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch._ops import OpOverload

# Composite operators that the compiler lowers as well as or better than their parts. All other
# composite operators are decomposed.
WHOLE = """
_convolution.deprecated adaptive_avg_pool1d.default adaptive_avg_pool2d.default
adaptive_avg_pool3d.default avg_pool1d.default conv1d.default conv1d.padding conv2d.default
conv2d.padding conv3d.default conv3d.padding conv_transpose1d.default conv_transpose2d.input
conv_transpose3d.input
fliplr.default flipud.default group_norm.default instance_norm.default isfinite.default
item.default layer_norm.default linalg_det.default linalg_slogdet.default linear.default
log_softmax.int matmul.default max.other max_pool1d.default max_pool2d.default max_pool3d.default
min.other outer.default pad.default prelu.default rms_norm.default selu.default
size.int square.default stft.default tile.default type_as.default
upsample_nearest1d.vec upsample_nearest2d.vec where.Scalar
where.ScalarOther where.ScalarSelf
"""

# Operators with a decomposition in Python that the compiler does not know.
_UNKNOWN = """
_addmm_activation.default _batch_norm_no_update.default _batch_norm_with_update_functional.default
_chunk_cat.default _euclidean_dist.default _fused_dropout.default _fused_rms_norm_backward.default
_native_batch_norm_legit.no_stats _native_batch_norm_legit_functional.default
_prelu_kernel.default _prelu_kernel_backward.default
_scaled_dot_product_flash_attention_for_cpu.default _unsafe_masked_index.default
_unsafe_masked_index_put_accumulate.default addmm.dtype addmv.default addr.default
affine_grid_generator.default all.dims alpha_dropout.default baddbmm.dtype
batch_norm_backward.default bitwise_and.Scalar_Tensor bitwise_left_shift.Scalar_Tensor
 bitwise_or.Scalar_Tensor
bitwise_right_shift.Scalar_Tensor
bitwise_xor.Scalar_Tensor block_diag.default bucketize.Scalar conj_physical.default
copysign.Scalar cudnn_batch_norm.default cudnn_batch_norm_backward.default
diagonal_backward.default digamma.default dist.default frexp.Tensor glu_backward.default grid_sampler_2d.default hann_window.default hardsigmoid_backward.default
hardswish_backward.default huber_loss.default huber_loss_backward.default i0.default
igamma.default igammac.default index_add.default index_copy.default index_fill.int_Scalar
index_fill.int_Tensor is_same_size.default isin.Scalar_Tensor isin.Tensor_Scalar
isin.Tensor_Tensor lgamma.default lift.default lift_fresh.default
linspace.Scalar_Tensor linspace.Tensor_Scalar linspace.Tensor_Tensor logit_backward.default
logspace.Scalar_Tensor logspace.Tensor_Scalar logspace.Tensor_Tensor logspace.default
miopen_batch_norm_backward.default multi_margin_loss.default multilabel_margin_loss_forward.default
mish_backward.default mvlgamma.default nansum.default narrow_copy.default nextafter.default norm.ScalarOpt_dim_dtype
norm.ScalarOpt_dtype reflection_pad1d_backward.default reflection_pad2d_backward.default
reflection_pad3d_backward.default remainder.Scalar_Tensor resize_as.default rsub.Tensor
select_backward.default silu_backward.default sinc.default slice_backward.default smooth_l1_loss.default
smooth_l1_loss_backward.default soft_margin_loss.default soft_margin_loss_backward.default
special_bessel_j0.default special_bessel_j1.default special_entr.default special_erfcx.default
special_i0e.default special_i1.default special_i1e.default special_log_ndtr.default
special_ndtri.default special_spherical_bessel_j0.default special_xlog1py.default
special_xlog1py.other_scalar special_xlog1py.self_scalar special_zeta.default
special_zeta.other_scalar special_zeta.self_scalar squeeze_copy.dims
take.default unfold_backward.default unsafe_split.Tensor
unsafe_split_with_sizes.default upsample_bicubic2d.default upsample_linear1d.default
upsample_trilinear3d.default vdot.default xlogy.Scalar_Other xlogy.Scalar_Self
"""

# Operators that the compiler knows by name but does not compile, or not in every form.
_KNOWN = """
alias_copy.default as_strided_copy.default detach_copy.default diagonal_copy.default
expand_copy.default permute_copy.default select_copy.int slice_copy.Tensor squeeze_copy.default
squeeze_copy.dim t_copy.default transpose_copy.int unbind_copy.int unfold_copy.default
unsqueeze_copy.default view_copy.default view_copy.dtype split_with_sizes_copy.default
_log_softmax_backward_data.default _softmax_backward_data.default _to_copy.default
_weight_norm_interface.default binary_cross_entropy.default binary_cross_entropy_backward.default
elu_backward.default embedding_dense_backward.default frac.default
gelu_backward.default hardtanh_backward.default isneginf.default isposinf.default
leaky_relu_backward.default lerp.Scalar lerp.Tensor linalg_vector_norm.default
log_sigmoid_backward.default log_sigmoid_forward.default logaddexp.default logaddexp2.default logsumexp.default
clamp_max.Tensor clamp_min.Tensor
masked_fill.Scalar masked_fill.Tensor max_pool2d_with_indices_backward.default
mse_loss_backward.default nan_to_num.default native_batch_norm_backward.default
native_dropout_backward.default native_group_norm.default native_group_norm_backward.default
native_layer_norm_backward.default new_full.default nll_loss_backward.default
nll_loss_forward.default nll_loss2d_forward.default nll_loss2d_backward.default norm.Scalar
norm.ScalarOpt_dim reflection_pad3d.default rrelu_with_noise_backward.default
sigmoid_backward.default softplus_backward.default split.Tensor split_with_sizes.default
tanh_backward.default threshold_backward.default trace.default tril_indices.default
triu_indices.default upsample_bilinear2d.default
max_unpool2d.default max_unpool3d.default xlogy.Tensor
"""


def overloads(names: str) -> Iterable[OpOverload]:
    """Yield the overloads of a list of names that this version of PyTorch has."""
    for name in names.split():
        packet, _, overload = name.partition(".")
        operator = getattr(getattr(torch.ops.aten, packet, None), overload, None)
        if operator is not None:
            yield operator


def decomposed() -> list[OpOverload]:
    """Return the operators to decompose that are not composite."""
    return [*overloads(_UNKNOWN), *overloads(_KNOWN)]
