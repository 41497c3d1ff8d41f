# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Operators that did not compile, or gave other numbers than eager, before a decomposition or rewrite.

Compiling costs more than running, so the cases are compiled in a few groups.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from tests.ops import harness

nan, inf = math.nan, math.inf
SPECIAL = torch.tensor(
    [nan, inf, -inf, 0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.5, -2.5, 3.0, 1e30, -1e30, -3.7]
)
LEFT, RIGHT = SPECIAL.repeat_interleave(len(SPECIAL)), SPECIAL.repeat(len(SPECIAL))
torch.manual_seed(0)
X = torch.randn(3, 4, 5)
MASK = torch.rand(3, 4, 5) > 0.5
BYTES = torch.tensor([1, 2, 7, 14, 120, 200, 255, 10, 240], dtype=torch.uint8)
SIGNED = torch.tensor([-128, -7, -1, 1, 5, 7, 100, 127, -120], dtype=torch.int8)
ROWS = torch.stack(
    [SPECIAL, torch.linspace(-3, 3, len(SPECIAL)), torch.full((len(SPECIAL),), -inf)]
)
PICTURE = torch.randn(2, 3, 5, 7)
QUERY = torch.randn(2, 2, 4, 8)
COMPLEX = torch.randn(4, 5, dtype=torch.complex64)
SOME = torch.tensor([[True, False, True, True], [False] * 4, [True] * 4, [False] * 3 + [True]])
put = torch.ops.aten.index_put

Case = tuple[Callable[..., Any], tuple[torch.Tensor, ...]]
CASES: dict[str, Case] = {
    # ------------------------------------------------------------------------- names and aliases
    "python_and": (lambda a, b: (a & b, a | b, a ^ b), (MASK, ~MASK)),
    "softmax": (
        lambda a, b, c, d: (
            torch.softmax(a, -1),
            torch.softmax(b, 1),
            torch.softmax(b, 0, dtype=torch.float64),
            torch.softmax(b.bfloat16(), 2),
            torch.softmax(b.half(), 2, dtype=torch.float32),
            torch.softmax(c, 0),
            torch.softmax(d, 1),
            torch.softmax(d, 0),
            torch.softmax((b * 9).int(), 1, dtype=torch.float32),
        ),
        (ROWS, X, torch.tensor(3.0), torch.zeros(2, 0)),
    ),
    "equals_itself": (lambda a: (a == a, a != a), (SPECIAL,)),
    "constant_compared": (
        lambda a: tuple(a + (torch.tensor(value) < 0).float() for value in (0.25, -0.25)),
        (torch.zeros(2),),
    ),
    "constant_arithmetic": (
        lambda a: (
            a + (torch.tensor([2.0, 2.0]) + -1),
            a + (torch.tensor([2.0, 2.0]) - -1),
            a + torch.tensor([2.0, 2.0]) * -1,
            a + torch.tensor([2.0, 2.0]).clamp(-1, 1),
            a + torch.where(torch.tensor([True, True]), torch.tensor([2.0, 2.0]), -1),
            a + torch.tensor([2.0, 2.0]).masked_fill(torch.tensor([True, True]), -1),
            a + (-1 - torch.tensor([2.0, 2.0])),
            a + -1 / torch.tensor([2.0, 2.0]),
            a + torch.full((2,), -1),
            a + torch.maximum(torch.tensor([2.0, 2.0]), torch.tensor(-1.0)),
            a + (torch.tensor([2, -2]) - 3) * -1,
        ),
        (torch.zeros(2),),
    ),
    "integer_constant_compared": (
        lambda a: (
            a + (torch.tensor([3, -3]) < 2.5),
            a + (torch.tensor([2, 200], dtype=torch.uint8) == 2.0),
        ),
        (torch.zeros(2),),
    ),
    "isfinite": (torch.isfinite, (SPECIAL,)),
    "isclose": (torch.isclose, (LEFT, RIGHT)),
    "xlogy": (torch.xlogy, (LEFT.abs(), RIGHT)),
    "meshgrid_ij": (
        lambda a, b: torch.meshgrid(a, b, indexing="ij"),
        (torch.arange(3), torch.arange(4)),
    ),
    "meshgrid_xy": (
        lambda a, b: torch.meshgrid(a, b, indexing="xy"),
        (torch.arange(3), torch.arange(4)),
    ),
    "log_softmax_dtype": (lambda a: F.log_softmax(a, 1, dtype=torch.float32), (X.half(),)),
    "shift": (lambda a: (a >> 1, a << 2, a | 5, a ^ 3), (torch.arange(-5, 5),)),
    "logsumexp": (lambda a: torch.logsumexp(a, 1), (ROWS[1:],)),
    # --------------------------------------------------------------------------- losses, norms
    "cross_entropy": (F.cross_entropy, (X[0], torch.tensor([0, 4, 2, 1]))),
    "cross_entropy_weight": (
        lambda a, t, w: F.cross_entropy(a, t, weight=w, ignore_index=2, label_smoothing=0.1),
        (X[0], torch.tensor([0, 4, 2, 1]), torch.rand(5)),
    ),
    "nll_loss": (lambda a, t: F.nll_loss(a, t, ignore_index=1), (X[0], torch.tensor([0, 4, 2, 1]))),
    "batch_norm": (
        lambda a, m, v, w: F.batch_norm(a, m, v, w, None),
        (PICTURE, torch.randn(3), torch.rand(3), torch.rand(3)),
    ),
    "weight_norm": (lambda v, g: torch._weight_norm(v, g, 0), (X, torch.rand(3, 1, 1))),
    "group_norm_backward": (
        lambda g, a, m, r, w: torch.ops.aten.native_group_norm_backward(
            g, a, m, r, w, 2, 4, 6, 2, [True, True, True]
        ),
        (
            torch.randn(2, 4, 6),
            torch.randn(2, 4, 6),
            torch.randn(2, 2),
            torch.rand(2, 2),
            torch.rand(4),
        ),
    ),
    "var_std": (lambda a: (a.var(1), a.std(1, correction=0), torch.var_mean(a)), (X,)),
    # ------------------------------------------------------------------------------- attention
    "attention_bool_mask": (
        lambda q, m: F.scaled_dot_product_attention(q, q, q, attn_mask=m),
        (QUERY, SOME),
    ),
    "attention_float_mask": (
        lambda q, m: F.scaled_dot_product_attention(q, q, q, attn_mask=m),
        (QUERY, torch.where(SOME, 0.0, -inf)),
    ),
    "attention_causal": (
        lambda q: F.scaled_dot_product_attention(q, q, q, is_causal=True),
        (QUERY,),
    ),
    "attention_groups": (
        lambda q, k: F.scaled_dot_product_attention(q, k, k, enable_gqa=True, scale=0.3),
        (QUERY, QUERY[:, :1]),
    ),
    "attention_bf16": (
        lambda q, m: F.scaled_dot_product_attention(q, q, q, attn_mask=m),
        (QUERY.bfloat16(), SOME),
    ),
    # ---------------------------------------------------------------------------------- writes
    "put_mask_number": (lambda a, m: put(a, [m], torch.tensor(7.0)), (X, MASK)),
    "put_mask_rows": (lambda a, m, v: put(a, [m], v), (X, MASK[..., 0], torch.randn(5))),
    "put_mask_values": (lambda a, m, v: put(a, [m], v), (X, MASK, torch.randn(int(MASK.sum())))),
    "put_mask_add": (lambda a, m, v: put(a, [m], v, True), (X, MASK, torch.randn(int(MASK.sum())))),
    "put_none_mask": (
        lambda a, m, v: put(a, [None, None, m], v),
        (X, torch.tensor([True, False, True, False, True]), torch.randn(3, 4, 3)),
    ),
    "put_own_rows": (
        lambda a, i: (
            put(a, [i], a[:2], True),
            put(a.clone(), [i], a[:2]),
            a.index_copy(0, i, a[:2]),
        ),
        (torch.arange(20.0).reshape(10, 2), torch.tensor([1, 9])),
    ),
    "put_negative": (
        lambda a, i, v: put(a, [i], v),
        (X, torch.tensor([0, -1]), torch.randn(2, 4, 5)),
    ),
    "put_none": (
        lambda a, i, v: put(a, [None, i], v),
        (X, torch.tensor([0, -2]), torch.randn(3, 2, 5)),
    ),
    "put_split": (
        lambda a, i, j, v: put(a, [i, None, j], v),
        (X, torch.tensor([0, 2]), torch.tensor([1, -3]), torch.randn(2, 4)),
    ),
    "diagonal_scatter": (lambda a, s: torch.diagonal_scatter(a, s, 1), (X[0], torch.randn(4))),
    "masked_scatter": (lambda a, m, v: a.masked_scatter(m, v), (X, MASK, torch.randn(60))),
    # ----------------------------------------------------------------------------------- order
    "kthvalue": (lambda a: torch.kthvalue(a, 2, 1), (X,)),
    "median": (lambda a: (torch.median(a), torch.median(a, 1)), (X,)),
    "nanmedian": (lambda a: torch.nanmedian(a, 1)[0], (ROWS,)),
    "cummax": (lambda a: torch.cummax(a, 1), (ROWS,)),
    "cummin": (lambda a: torch.cummin(a, 1), (ROWS,)),
    "logcumsumexp": (lambda a: torch.logcumsumexp(a, 1), (X,)),
    "aminmax": (lambda a: torch.aminmax(a), (X,)),
    "max_of_one": (lambda a: torch.max(a, 0), (torch.tensor(3.0),)),
    "sort_nan": (lambda a: (torch.sort(a, 1)[0], torch.sort(a, 1, descending=True)[0]), (ROWS,)),
    "topk_nan": (lambda a: (torch.topk(a, 4)[0], torch.topk(a, 4, largest=False)[0]), (ROWS,)),
    "arg_nan": (lambda a: (torch.argmax(a, 1), torch.argmin(a, 1)), (ROWS[1:],)),
    "histc": (lambda a: torch.histc(a, 5, -1, 2), (X,)),
    "sort_stable": (lambda a: torch.sort(a, stable=True), (torch.tensor([3, 1, 2, 1, 3, 1]),)),
    "sort_bool": (lambda a: torch.sort(a)[0], (MASK,)),
    "embedding_bag": (
        lambda w, i, o: (
            F.embedding_bag(i, w, o),
            F.embedding_bag(i, w, o, mode="max"),
            F.embedding_bag(i, w, o, mode="sum", padding_idx=2),
        ),
        (torch.randn(6, 3), torch.tensor([1, 2, 5, 2]), torch.tensor([0, 1, 1])),
    ),
    "select_scatter": (lambda a, b: torch.select_scatter(a, b, -1, -1), (X, X[..., 0])),
    "renorm": (lambda a: torch.renorm(a, 2, -1, 0.5), (X,)),
    "bool_add": (lambda a, i: a.index_add(0, i, a[:2]), (MASK, torch.tensor([0, 2]))),
    "bool_to_complex": (lambda a: a.to(torch.complex64), (MASK,)),
    "reduce_one_number": (lambda a: (a.amax(0), a.sum(0), a.argmax(0)), (torch.tensor(3.0),)),
    "einsum": (lambda a: torch.einsum("ijk,ljk->il", a, a), (X,)),
    # --------------------------------------------------------------------------------- numbers
    "maximum": (lambda a, b: (torch.maximum(a, b), torch.minimum(a, b)), (LEFT, RIGHT)),
    "fmax": (lambda a, b: (torch.fmax(a, b), torch.fmin(a, b)), (LEFT, RIGHT)),
    "clamp": (
        lambda a, b: (a.clamp(-1, 1), a.clamp(min=0), a.clamp(max=b), F.relu6(a)),
        (LEFT, RIGHT),
    ),
    "pow": (lambda a, b: (a**b, a**2, a**-1, a**3, a**0.5), (LEFT, RIGHT)),
    "pow_integers": (
        torch.pow,
        (torch.tensor([0, -1, 2, 3, -2]), torch.tensor([0, 7, 10, 39, 63])),
    ),
    "atan2": (torch.atan2, (LEFT, RIGHT)),
    "copysign": (torch.copysign, (LEFT[len(SPECIAL) :], RIGHT[len(SPECIAL) :].nan_to_num(1.0))),
    "asinh": (lambda a: (a.asinh(), a.acosh()), (SPECIAL,)),
    "hypot": (torch.hypot, (LEFT, RIGHT)),
    "log10": (torch.log10, (SPECIAL,)),
    "frexp": (torch.frexp, (torch.tensor([0.0, 1.0, -3.7, 1e30, inf]),)),
    "i0": (torch.i0, (torch.tensor([0.0, 1.0, -3.0, 5.0, 20.0]),)),
    "erfc": (torch.erfc, (SPECIAL,)),
    "integer_clamp": (lambda a: a.clamp(0.5, 2.5), (torch.arange(5),)),
    "bytes": (
        lambda a: (a / 240, a // 7, a % 200, torch.div(200, a, rounding_mode="trunc"), a + 100),
        (BYTES,),
    ),
    "bytes_matmul": (lambda a: a.reshape(3, 3) @ a.reshape(3, 3), (BYTES,)),
    "int8": (lambda a: (a.reshape(3, 3) @ a.reshape(3, 3), a // 7, a % 5), (SIGNED,)),
    "gcd": (
        lambda a, b: (torch.gcd(a, b), torch.lcm(a, b)),
        (torch.tensor([12, 0, -9, 7]), torch.tensor([18, 0, 6, 0])),
    ),
    "addmm_int": (
        lambda a: torch.addmm(a, a, a, beta=2, alpha=3),
        (torch.arange(9).reshape(3, 3),),
    ),
    "matmul_of_nothing": (lambda a, b: a @ b, (torch.ones(2, 0), torch.ones(0, 3))),
    "products_of_nothing": (
        lambda a, b: (torch.mm(a, b), torch.mv(a, b[:, 0]), torch.dot(a[0], b[:, 0])),
        (torch.ones(2, 0), torch.ones(0, 3)),
    ),
    "results_of_nothing": (
        lambda a: (a.reshape(3, 0), a.sort(1), a.topk(2, 1), a.split(1, 1), a > 0, a.sum(0)),
        (torch.ones(0, 3),),
    ),
    "writes_of_nothing": (
        lambda a, i, v: (
            put(a, [i], v),
            put(a, [i], a[0], True),
            a.index_add(0, i, v),
            a.scatter(0, i.reshape(0, 1), v),
        ),
        (torch.randn(5, 3), torch.zeros(0, dtype=torch.int64), torch.ones(0, 3)),
    ),
    "binary_cross_entropy": (F.binary_cross_entropy, (X.sigmoid(), MASK.float())),
    # --------------------------------------------------------------------------------- complex
    "complex_arithmetic": (
        lambda a, b, c: (a + b, a - b * 2.5, a / b, a / c, c / a, 1 - a, a * 1j, a / (1 + 2j), -a),
        (COMPLEX, COMPLEX.flip(0) * 1e30, X[0]),
    ),
    "complex_functions": (
        lambda a: (a.sgn(), a.exp(), a.log(), 1 / a, a.sum(0), a.sum(), a.mean(1), a.mean()),
        (COMPLEX,),
    ),
    "complex_comparison": (
        lambda a, b: (a == b, a != b, a == 1j, a.isnan()),
        (COMPLEX, torch.complex(COMPLEX.real, COMPLEX.imag.abs())),
    ),
    "complex_length": (
        lambda a, b: torch.complex(a, b).abs(),
        (LEFT, RIGHT),
    ),
    "complex128": (lambda a: (a.abs(), a / a.sum(0)), (COMPLEX.to(torch.complex128),)),
    "spectrogram": (lambda a: torch.fft.rfft(a).abs() + 1, (X,)),
    # --------------------------------------------------------------------------------- spectra
    "fft": (lambda a: (torch.fft.fft(a), torch.fft.ifft(torch.fft.fft(a, dim=1), dim=1)), (X,)),
    "conj": (
        lambda a: (a.conj().clone(), torch.fft.hfft(a)),
        (torch.randn(2, 5, dtype=torch.complex64),),
    ),
    "rfft": (lambda a: torch.fft.rfft2(a, norm="ortho"), (X,)),
    "irfft": (
        lambda a: (torch.fft.irfft(a, 8), torch.fft.irfft(a, 7)),
        (torch.randn(2, 5, dtype=torch.complex64),),
    ),
    # ----------------------------------------------------------------------------------- pools
    "pool_one_window": (
        lambda a: (F.max_pool2d(a, 3), F.avg_pool2d(a, 3)),
        (torch.randn(1, 2, 5, 5),),
    ),
    "pool_rounded_up": (
        lambda a: F.max_pool2d(a, 3, 2, ceil_mode=True, return_indices=True),
        (PICTURE[..., :6],),
    ),
    "pool_unbatched": (lambda a: (F.max_pool2d(a, 2), F.avg_pool2d(a, 2)), (PICTURE[0],)),
    "pool_adaptive": (lambda a: F.adaptive_max_pool2d(a, (3, 4), return_indices=True), (PICTURE,)),
    "pool_3d": (lambda a: F.avg_pool3d(a, 2), (torch.randn(2, 3, 3, 4, 4),)),
    "conv_unbatched": (lambda a, w: F.conv2d(a, w), (PICTURE[0], torch.randn(4, 3, 2, 2))),
    "reflection_pad3d": (
        lambda a: F.pad(a, (1, 2, 1, 0, 2, 1), mode="reflect"),
        (torch.randn(1, 2, 3, 4, 5),),
    ),
    "pad_negative": (
        lambda a: (
            F.pad(a, (1, -1, -1, 1)),
            F.pad(a, (-1, 2, 0, -2), value=3.0),
            F.pad(a, (-2, -1)),
        ),
        (PICTURE,),
    ),
    "pad_circular": (lambda a: F.pad(a, (2, 1, 1, 0), mode="circular"), (PICTURE,)),
    "unfold": (lambda a: F.unfold(a, (2, 3), dilation=2, padding=1, stride=2), (PICTURE,)),
    "bicubic": (lambda a: F.interpolate(a, scale_factor=1.7, mode="bicubic"), (PICTURE,)),
    "bilinear": (
        lambda a: F.interpolate(a, (8, 3), mode="bilinear", align_corners=True),
        (PICTURE,),
    ),
    "nearest_exact": (lambda a: F.interpolate(a, (3, 9), mode="nearest-exact"), (PICTURE,)),
    "cdist": (torch.cdist, (X, X[:, :2])),
}
GROUP = 16
NAMES = list(CASES)


@pytest.fixture(scope="module")
def artifacts():
    """Compile a group when its first case asks for it."""
    compiled: dict[int, harness.Artifact] = {}

    def of(name: str) -> harness.Artifact:
        group = NAMES.index(name) // GROUP
        if group not in compiled:
            members = NAMES[group * GROUP : (group + 1) * GROUP]
            programs = {member: harness.export(*CASES[member]) for member in members}
            module = harness.import_all(programs)
            compiled[group] = harness.Artifact(harness.compile_module(module, timeout=280))
        return compiled[group]

    return of


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_eager(artifacts, name):
    function, arguments = CASES[name]
    expected = harness.flat_tensors(function(*[value.clone() for value in arguments]))
    actual = artifacts(name).call(name, arguments, expected)
    assert harness.mismatch(actual, expected) is None
