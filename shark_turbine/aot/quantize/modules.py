# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""nn.Modules with quantized weights, and the copy of a model that has them."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import nn

from shark_turbine.quantized import dequantize, quantized_embedding, quantized_linear

from ..spec import tensor_identity
from ..traits import ExternalTensorTrait
from .report import QuantizationReport, QuantizedWeight, measure
from .stored import Options, StoredWeight, nothing_to_quantize, store


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
    """`nn.Linear` with a quantized weight; `aot.quantize` makes it.

    Args:
        qweight: the integers, packed.
        scales: what they are multiplied with.
        stored: how the weight is stored, and its shape.
        bias: of the layer; None where it has none.
    """

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
        """Return what `repr` shows of the layer."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}, bits={self.bits}"
        )


class QuantizedEmbedding(_QuantizedLayer):
    """`nn.Embedding` with a quantized weight; `aot.quantize` makes it.

    Args:
        qweight: the integers, packed.
        scales: what they are multiplied with.
        stored: how the weight is stored, and its shape.
        padding_idx: as in `nn.Embedding`.
    """

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
        """Return what `repr` shows of the layer."""
        return f"{self.num_embeddings}, {self.embedding_dim}, bits={self.bits}"


def quantize_module(model: nn.Module, options: Options) -> tuple[nn.Module, QuantizationReport]:
    """Return a copy with quantized layers, and the report.

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
        qweight, scales = _parameters(weight, stored)
        for _, layer in layers:
            replaced[id(layer)] = _replacement(layer, qweight, scales, stored)
    if not weights:
        raise nothing_to_quantize(
            f"{type(model).__name__}: no nn.Linear or nn.Embedding was chosen"
        )
    shared = {id(parameter): parameter for parameter in model.parameters()}
    copied = copy.deepcopy(model, {**shared, **replaced})
    kept = sum(p.nbytes for p in copied.parameters() if id(p) in shared)
    return copied, QuantizationReport(tuple(weights), kept)


def _by_weight(model: nn.Module) -> Iterator[list[tuple[str, nn.Linear | nn.Embedding]]]:
    """Yield the layers that can be replaced, with their names; those of one weight together."""
    found: dict[object, list[tuple[str, nn.Linear | nn.Embedding]]] = {}
    for name, layer in model.named_modules():
        # Subclasses compute something else, or are read by their parents (MultiheadAttention).
        is_embedding = type(layer) is nn.Embedding and layer.max_norm is None
        if is_embedding or type(layer) is nn.Linear:
            found.setdefault(tensor_identity(layer.weight), []).append((name, layer))  # type: ignore[arg-type]
    yield from found.values()


def _parameters(weight: torch.Tensor, stored: StoredWeight) -> tuple[nn.Parameter, nn.Parameter]:
    """Return integers and scales as parameters; they are external where the weight was."""
    qweight = nn.Parameter(stored.data, requires_grad=False)
    scales = nn.Parameter(stored.scales, requires_grad=False)
    trait = ExternalTensorTrait.get(weight)
    if trait is not None:
        for parameter, suffix in zip((qweight, scales), stored.suffixes, strict=True):
            ExternalTensorTrait(trait.external_scope, trait.external_name + suffix).set(parameter)
    return qweight, scales


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
