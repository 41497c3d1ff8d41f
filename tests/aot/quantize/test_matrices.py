# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""How weights are stored: bounds of the error, edge cases, and the report."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import shark_turbine.aot as aot
from shark_turbine.quantized import dequantize_matrix, quantize_matrix


def plain(matrix: torch.Tensor, bits: int, group: int) -> torch.Tensor:
    """Quantize and dequantize, one row and group after the other."""
    largest = 2 ** (bits - 1) - 1
    result = torch.zeros_like(matrix)
    for row in range(matrix.shape[0]):
        for start in range(0, matrix.shape[1], group):
            part = matrix[row, start : start + group]
            scale = part.abs().max() / largest
            if scale > 0:
                result[row, start : start + group] = torch.round(part / scale) * scale
    return result


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("group_size", [None, 8])
def test_equals_a_plain_quantizer_bit_by_bit(bits, group_size):
    torch.manual_seed(0)
    matrix = torch.randn(19, 24) * torch.logspace(-3, 3, 19)[:, None]
    data, scales = quantize_matrix(matrix, bits, group_size)
    assert torch.equal(dequantize_matrix(data, scales, 19), plain(matrix, bits, group_size or 24))


@settings(deadline=None, max_examples=60)
@given(
    rows=st.integers(1, 40),
    groups=st.integers(1, 4),
    group=st.integers(1, 9),
    bits=st.sampled_from([4, 8]),
    exponent=st.integers(-20, 20),
    seed=st.integers(0, 2**31),
)
def test_no_value_is_off_by_more_than_half_a_step(rows, groups, group, bits, exponent, seed):
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(rows, groups * group, generator=generator) * 2.0**exponent
    matrix *= torch.rand(rows, 1, generator=generator) > 0.2  # Rows of zeros.
    data, scales = quantize_matrix(matrix, bits, group)
    restored = dequantize_matrix(data, scales, rows)
    steps = matrix.reshape(rows, groups, group).abs().amax(2, keepdim=True) / (2 ** (bits - 1) - 1)
    error = (restored - matrix).reshape(rows, groups, group).abs()
    assert bool((error <= 0.5001 * steps).all())
    # Negating the weights negates what is stored: there is no offset.
    mirrored, same_scales = quantize_matrix(-matrix, bits, group)
    assert torch.equal(dequantize_matrix(mirrored, same_scales, rows), -restored)


def test_rows_of_zeros_and_the_largest_numbers():
    matrix = torch.zeros(3, 8)
    matrix[1] = torch.finfo(torch.float32).max
    restored = dequantize_matrix(*quantize_matrix(matrix, 4), 3)
    assert torch.equal(restored[[0, 2]], matrix[[0, 2]])
    torch.testing.assert_close(restored[1], matrix[1])


def test_the_report():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(100, 64), nn.Linear(64, 48), nn.LayerNorm(48)).bfloat16()
    with torch.no_grad():
        model[1].weight.zero_()
    report = aot.quantize(model, bits=4, group_size=32).report
    embedding, linear = report.weights
    assert (embedding.name, embedding.shape, embedding.bits) == ("0.weight", (100, 64), 4)
    assert embedding.bytes_before == 100 * 64 * 2
    assert embedding.bytes_after == 112 * 64 // 2 + 112 * 2 * 4
    assert 0 < embedding.max_error < 0.5
    assert 0.05 < embedding.relative_error < 0.15
    assert embedding.sqnr == pytest.approx(-20 * math.log10(embedding.relative_error))
    assert (linear.max_error, linear.relative_error, linear.sqnr) == (0, 0, math.inf)
    assert report.bytes_before == sum(p.nbytes for p in model.parameters())
    assert report.bytes_kept == 3 * 48 * 2
    lines = str(report).splitlines()
    assert lines[0].split()[:4] == ["weight", "shape", "stored", "before"]
    assert lines[1].startswith("0.weight")
    assert "100x64  bf16 > i4/32  12.5 KiB" in lines[1]
    assert lines[-1].split()[0] == "all"
