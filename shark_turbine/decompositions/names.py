# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The operators that PyTorch's own decompositions take apart, by name.

Not the core-ATen table: that one decomposes operators which the compiler lowers well as they are,
and into ones that it does not lower. An operator stands here because it does not compile whole.
"""

from __future__ import annotations

import torch
from torch._ops import OpOverload

_NAMES = """
_log_softmax_backward_data.default
_prelu_kernel_backward.default
_softmax_backward_data.default
_to_copy.default
_weight_norm_interface.default
embedding_dense_backward.default
frac.default
gelu_backward.default
grid_sampler_2d.default
hardswish_backward.default
hardtanh_backward.default
huber_loss.default
isneginf.default
isposinf.default
lerp.Scalar
lerp.Tensor
linalg_vector_norm.default
log_sigmoid_backward.default
log_sigmoid_forward.default
logaddexp.default
masked_fill.Scalar
masked_fill.Tensor
meshgrid.default
meshgrid.indexing
mse_loss_backward.default
nan_to_num.default
native_dropout_backward.default
native_group_norm.default
native_group_norm_backward.default
native_layer_norm_backward.default
new_full.default
nll_loss_backward.default
norm.Scalar
norm.ScalarOpt_dim
reflection_pad3d.default
select_backward.default
sigmoid_backward.default
sinc.default
slice_backward.default
smooth_l1_loss.default
soft_margin_loss.default
special_entr.default
special_log_ndtr.default
special_xlog1py.default
split.Tensor
split_with_sizes.default
std.correction
tanh_backward.default
threshold_backward.default
trace.default
tril_indices.default
triu_indices.default
unfold_backward.default
unsafe_split.Tensor
upsample_bilinear2d.vec
xlogy.Scalar_Other
xlogy.Scalar_Self
xlogy.Tensor
"""


def operators() -> list[OpOverload]:
    """Return the overloads that this version of PyTorch has."""
    found = []
    for line in _NAMES.split():
        packet, _, overload = line.partition(".")
        operator = getattr(getattr(torch.ops.aten, packet, None), overload, None)
        if operator is not None:
            found.append(operator)
    return found
