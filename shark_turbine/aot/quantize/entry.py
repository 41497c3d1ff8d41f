# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`aot.quantize` and what it gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch

from shark_turbine.errors import DeclarationError

from ..compiled_module import CompiledModuleMeta
from .compiled_class import quantize_class
from .modules import quantize_module
from .report import QuantizationReport
from .stored import Options


@dataclass(frozen=True, slots=True)
class Quantized:
    """What `aot.quantize` gives.

    Attributes:
        module: the quantized nn.Module or CompiledModule class, for `aot.export`.
        report: what quantizing did to the weights; `print(report)` shows a table.
    """

    module: Any
    report: QuantizationReport


def quantize(
    module: Any,
    *,
    bits: Literal[4, 8] = 8,
    group_size: int | None = None,
    filter_fn: Callable[[torch.Tensor, str], bool] | None = None,
) -> Quantized:
    """Store the weights of linear layers and embeddings as integers of 8 or 4 bits.

    Weights only: activations keep their dtype, and sums are made in f32. The compiled code widens
    each integer in a register; no weight is turned back into floats in memory. What is given does
    not change: the copy shares everything that is not quantized with it. Weights that would not
    become smaller (fewer than 16 rows, say) stay as they are.

    Args:
        module: an `nn.Module`, whose `nn.Linear` and `nn.Embedding` layers are replaced in a copy;
            or a `CompiledModule` class, of which a class is derived whose exported parameters that
            feed linear layers, `x @ w.T` and embeddings are stored quantized.
        bits: 8, or 4 (two integers in a byte).
        group_size: how many neighbouring columns share a scale; None: one scale for each row. It
            has to divide the columns of each weight.
        filter_fn: called with each weight and its name (`model.layers.0.mlp.up_proj.weight`, in a
            class `params.` and so on); where it returns False the weight stays as it is. A weight
            that is tied under several names is quantized if all of them pass.

    Raises:
        DeclarationError: no weight is left to quantize, `group_size` does not divide a weight's
            columns, a weight holds NaN or infinity or has no data, or a global to quantize is mutable.
    """
    options = Options.checked(bits, group_size, filter_fn)
    if isinstance(module, CompiledModuleMeta) and hasattr(module, "_spec"):
        return Quantized(*quantize_class(module, options))
    if isinstance(module, torch.nn.Module):
        return Quantized(*quantize_module(module, options))
    raise DeclarationError(
        "this cannot be quantized",
        where="aot.quantize",
        got=module.__name__ if isinstance(module, type) else type(module).__name__,
        expected="an nn.Module, or a class that derives from CompiledModule",
        fix="aot.quantize(model), before aot.export(...)",
    )
