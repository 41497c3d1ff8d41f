# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Operations that compute each element from those at its place."""

from __future__ import annotations

ELEMENTWISE = frozenset(
    f"torch.aten.{name}"
    for name in (
        "abs", "add.Scalar", "add.Tensor", "clamp", "clamp_max", "clamp_min", "div.Scalar", "div.Tensor",
        "elu", "erf", "exp", "gelu", "hardsigmoid", "hardswish", "hardtanh", "isnan", "leaky_relu",
        "maximum", "minimum", "mish", "mul.Scalar", "mul.Tensor", "neg", "relu", "relu6", "rsqrt",
        "sigmoid", "silu", "softplus", "sqrt", "square", "sub.Scalar", "sub.Tensor", "tanh",
        "where.ScalarOther", "where.ScalarSelf", "where.self",
    )
)  # fmt: skip
