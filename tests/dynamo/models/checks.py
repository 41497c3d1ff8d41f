# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Running a model compiled and in eager, forward and one step of training, and what differs."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import torch
import transformers

from .architectures import Architecture

Outputs = dict[str, torch.Tensor]
Pairs = dict[str, tuple[torch.Tensor | None, torch.Tensor | None]]


def forward(wrapped: Any, model: Any, inputs: Mapping[str, Any]) -> Pairs:
    """Return all tensors of a result in evaluation, each as given by the compiled model and by eager."""
    with torch.no_grad():
        expected = flat(model(**copy.deepcopy(inputs)))
        actual = flat(wrapped(**copy.deepcopy(inputs)))
    assert actual.keys() == expected.keys()
    return {name: (actual[name], expected[name]) for name in expected}


def training(architecture: Architecture, backend: Any) -> Pairs:
    """Return the loss and all gradients of one step, and all buffers after it."""
    expected, actual = architecture.model().train(), architecture.model().train()
    inputs = training_inputs(architecture)
    losses = []
    for run in (expected, torch.compile(actual, backend=backend)):
        loss = loss_of(run(**copy.deepcopy(inputs)))
        loss.backward()
        losses.append(loss.detach())
    pairs: Pairs = {"loss": (losses[1], losses[0])}
    wanted = dict(expected.named_parameters())
    for name, parameter in actual.named_parameters():
        pairs[f"gradient of {name}"] = parameter.grad, wanted[name].grad
    buffers = dict(expected.named_buffers())
    for name, buffer in actual.named_buffers():
        pairs[f"buffer {name}"] = buffer, buffers[name]
    return pairs


def training_inputs(architecture: Architecture) -> dict[str, Any]:
    inputs = architecture.inputs(architecture.sizes[0])
    return inputs if architecture.labels is None else {**inputs, **architecture.labels(inputs)}


def loss_of(output: Any) -> torch.Tensor:
    """Return the model's own loss, else the distance of all results from noise.

    Without the noise there would be no gradients before a layer norm: its results have a fixed length.
    """
    loss = output.get("loss")
    if loss is not None:
        return loss.sum()
    tensors = [value for value in flat(output).values() if value.requires_grad]
    generator = torch.Generator().manual_seed(5)
    noises = [torch.randn(tensor.shape, generator=generator) for tensor in tensors]
    distances = [(a - b).square().sum() for a, b in zip(tensors, noises, strict=True)]
    return torch.stack(distances).sum()


def flat(value: Any) -> Outputs:
    """Return the tensors of a result by their paths."""
    return dict(_tensors("", value))


def _tensors(name: str, value: Any) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _tensors(f"{name}.{key}", item)
    elif isinstance(value, (tuple, list)):
        for index, item in enumerate(value):
            yield from _tensors(f"{name}[{index}]", item)
    elif isinstance(value, transformers.EncoderDecoderCache):
        yield from _tensors(name, [value.self_attention_cache, value.cross_attention_cache])
    elif isinstance(value, transformers.DynamicCache):
        yield from _tensors(name, [vars(layer) for layer in value.layers])
    elif hasattr(value, "__dict__") and "cache" in type(value).__name__.lower():
        yield from _tensors(name, vars(value))
    else:
        assert value is None or isinstance(value, (bool, int, float, str, torch.dtype)), (
            name,
            type(value),
        )


# --------------------------------------------------------------------------------------- comparisons --


def assert_same_outputs(pairs: Pairs) -> None:
    for name, (actual, expected) in pairs.items():
        torch.testing.assert_close(
            actual, expected, rtol=1e-4, atol=2e-5, msg=lambda text, name=name: f"{name}: {text}"
        )


def assert_same_training(pairs: Pairs) -> None:
    """Compare; the errors of a gradient are measured by the largest element of it."""
    largest = largest_gradient(pairs)
    for name, (actual, expected) in pairs.items():
        assert (actual is None) == (expected is None), name
        if actual is None or expected is None:
            continue
        is_gradient = name.startswith("gradient") and expected.numel() > 0
        # What is zero but for rounding has the errors of what it is the sum of.
        floor = _scale(expected, largest) * 1e-4 if is_gradient else 2e-5
        torch.testing.assert_close(
            actual, expected, rtol=1e-4, atol=floor, msg=lambda text, name=name: f"{name}: {text}"
        )
        assert actual.isfinite().all(), name


def largest_gradient(pairs: Pairs) -> float:
    gradients = [
        expected.abs().max().item()
        for name, (_, expected) in pairs.items()
        if name.startswith("gradient") and expected is not None and expected.numel()
    ]
    return max(gradients)


def largest_difference(pairs: Pairs) -> float:
    """Return the largest absolute difference of any output."""
    return max((_difference(actual, expected) for actual, expected in pairs.values()), default=0.0)


def largest_gradient_difference(pairs: Pairs) -> float:
    """Return the largest difference of a gradient, relative to its largest element."""
    largest = largest_gradient(pairs)
    return max(
        _difference(actual, expected) / _scale(expected, largest)
        for name, (actual, expected) in pairs.items()
        if name.startswith("gradient") and expected is not None and expected.numel()
    )


def _scale(gradient: torch.Tensor, largest: float) -> float:
    return gradient.abs().max().item() + 1e-2 * largest


def _difference(actual: torch.Tensor | None, expected: torch.Tensor | None) -> float:
    if actual is None or expected is None or not expected.numel():
        return 0.0
    return (actual.double() - expected.double()).abs().max().item()
