# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""nn.Modules with quantized weights, and the copy of a model that has them."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import nn

from shark_turbine.errors import DeclarationError
from shark_turbine.quantized import dequantize, quantized_embedding, quantized_linear

from ..spec import tensor_identity
from .report import QuantizationReport, QuantizedWeight, measure
from .stored import Options, StoredWeight, store


class _QuantizedLayer(nn.Module):
    """A layer whose weight is stored as integers `qweight` and `scales`.

    They are parameters without gradients, so that whatever exports or saves parameters has them.
    """

    def __init__(self, qweight: nn.Parameter, scales: nn.Parameter, stored: StoredWeight) -> None:
        super().__init__()
        self.qweight = qweight
        self.scales = scales
        self.bits = stored.bits
        self._rows, self._columns = stored.shape
        self._dtype = stored.dtype

    @property
    def weight(self) -> torch.Tensor:
        """Return the weight in floats, computed anew at each access."""
        return dequantize(self.qweight, self.scales, self._rows, self._dtype)


class QuantizedLinear(_QuantizedLayer):
    """`nn.Linear` with a quantized weight."""

    def __init__(
        self,
        qweight: nn.Parameter,
        scales: nn.Parameter,
        stored: StoredWeight,
        bias: nn.Parameter | None,
    ) -> None:
        super().__init__(qweight, scales, stored)
        self.out_features, self.in_features = stored.shape
        self.bias = bias

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return `input @ weight.T + bias`, of shape `[..., out_features]` and the input's dtype."""
        result = quantized_linear(input, self.qweight, self.scales, self.out_features)
        return result if self.bias is None else result + self.bias

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}, bits={self.bits}"
        )


class QuantizedEmbedding(_QuantizedLayer):
    """`nn.Embedding` with a quantized weight."""

    def __init__(
        self,
        qweight: nn.Parameter,
        scales: nn.Parameter,
        stored: StoredWeight,
        padding_idx: int | None,
    ) -> None:
        super().__init__(qweight, scales, stored)
        self.num_embeddings, self.embedding_dim = stored.shape
        self.padding_idx = padding_idx

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return the rows of the weight that `input` names, `[*input.shape, embedding_dim]`."""
        return quantized_embedding(
            input, self.qweight, self.scales, self.num_embeddings, self._dtype
        )

    def extra_repr(self) -> str:
        return f"{self.num_embeddings}, {self.embedding_dim}, bits={self.bits}"


def quantize_module(
    model: nn.Module, options: Options
) -> tuple[nn.Module, QuantizationReport, dict[str, torch.Tensor]]:
    """Return a copy with quantized layers, the report, and the stored tensors by name.

    Everything that is not replaced is shared with `model`, parameters at least.

    Raises:
        DeclarationError: see `aot.quantize`.
    """
    replaced: dict[int, nn.Module] = {}
    weights: list[QuantizedWeight] = []
    for layers in _by_weight(model):
        weight, names = layers[0][1].weight, [f"{name}.weight".lstrip(".") for name, _ in layers]
        if not options.accepts(weight, names):
            continue
        stored = store(weight, names[0], options)
        weights.append(measure(weight, stored, ", ".join(names), options.group_size))
        qweight = nn.Parameter(stored.data, requires_grad=False)
        scales = nn.Parameter(stored.scales, requires_grad=False)
        for _, layer in layers:
            replaced[id(layer)] = _replacement(layer, qweight, scales, stored)
    if not weights:
        raise nothing_to_quantize(
            f"{type(model).__name__}: no nn.Linear or nn.Embedding was chosen"
        )
    shared = {id(parameter): parameter for parameter in model.parameters()}
    copied = copy.deepcopy(model, {**shared, **replaced})
    kept = sum(
        parameter.nbytes
        for name, parameter in copied.named_parameters()
        if not name.endswith((".qweight", ".scales")) and name not in ("qweight", "scales")
    )
    tensors = {
        name: tensor
        for name, tensor in copied.state_dict().items()
        if name.rpartition(".")[2] in ("qweight", "scales")
    }
    return copied, QuantizationReport(tuple(weights), kept), tensors


def nothing_to_quantize(got: str) -> DeclarationError:
    """Return the error for a program without a weight to quantize."""
    return DeclarationError(
        "there is nothing to quantize",
        where="aot.quantize",
        got=got,
        expected="weights of f32, f16 or bf16 that feed linear layers or embeddings, large enough to "
        "become smaller, and not refused by filter_fn",
        fix="look at the names that filter_fn gets: "
        "filter_fn=lambda weight, name: print(name, weight.shape) or True",
    )


def _by_weight(model: nn.Module) -> Iterator[list[tuple[str, nn.Linear | nn.Embedding]]]:
    """Yield the layers that can be replaced, with their names; those of one weight together."""
    found: dict[object, list[tuple[str, nn.Linear | nn.Embedding]]] = {}
    for name, layer in model.named_modules():
        # Subclasses compute something else, or are read by their parents (MultiheadAttention).
        is_embedding = type(layer) is nn.Embedding and layer.max_norm is None
        if is_embedding or type(layer) is nn.Linear:
            found.setdefault(tensor_identity(layer.weight), []).append((name, layer))  # type: ignore[arg-type]
    yield from found.values()


def _replacement(
    layer: nn.Linear | nn.Embedding,
    qweight: nn.Parameter,
    scales: nn.Parameter,
    stored: StoredWeight,
) -> nn.Module:
    if isinstance(layer, nn.Linear):
        new: nn.Module = QuantizedLinear(qweight, scales, stored, layer.bias)
    else:
        new = QuantizedEmbedding(qweight, scales, stored, layer.padding_idx)
    for name, hooks in vars(layer).items():
        if name.startswith("_forward_"):
            vars(new)[name] = hooks.copy() if hasattr(hooks, "copy") else hooks
    return new.train(layer.training)
