# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The decomposition table: fresh copies, changes for a block, in one thread."""

from __future__ import annotations

import threading

import pytest
import torch

from shark_turbine.decompositions import current_aot_decompositions, extend_aot_decompositions
from shark_turbine.errors import DeclarationError

aten = torch.ops.aten


def test_table_is_a_copy():
    current_aot_decompositions().clear()
    assert aten.xlogy.Tensor in current_aot_decompositions()


def test_remove_and_add_for_a_block():
    with extend_aot_decompositions(
        add_ops=[aten.hardswish.default], remove_ops=[aten.xlogy]
    ) as inside:
        assert aten.hardswish.default in inside
        assert aten.xlogy.Tensor not in current_aot_decompositions()
    assert aten.hardswish.default not in current_aot_decompositions()
    assert aten.xlogy.Tensor in current_aot_decompositions()


def test_blocks_nest_and_start_empty():
    def double(x):
        return x + x

    with extend_aot_decompositions(from_current=False, add_ops={aten.relu.default: double}):
        assert current_aot_decompositions() == {aten.relu.default: double}
        with extend_aot_decompositions(remove_ops=[aten.relu.default]):
            assert current_aot_decompositions() == {}
        assert current_aot_decompositions() == {aten.relu.default: double}


def test_an_error_inside_ends_the_block():
    with pytest.raises(ZeroDivisionError), extend_aot_decompositions(from_current=False):
        _ = 1 / 0
    assert aten.xlogy.Tensor in current_aot_decompositions()


def test_other_threads_do_not_see_it():
    seen = []
    with extend_aot_decompositions(from_current=False):
        thread = threading.Thread(target=lambda: seen.append(len(current_aot_decompositions())))
        thread.start()
        thread.join()
    assert seen[0] > 100


def test_operator_without_decomposition():
    with pytest.raises(DeclarationError, match=r"no decomposition of aten\.convolution"):  # noqa: SIM117
        with extend_aot_decompositions(add_ops=[aten.convolution.default]):
            pass
