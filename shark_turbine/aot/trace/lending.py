# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Tracing with TorchDynamo without a copy of every weight.

When it exports, TorchDynamo copies each tensor that it meets (torch 2.13 twice), for the rare programs
that compute with real values while they are traced, which may write to them. Here it is lent the
tensors themselves; they are copied when the first real value is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch._dynamo.variables import builder as _builder
from torch._dynamo.variables import tensor as _tensor_variable
from torch._subclasses.fake_tensor import FakeTensor

_PLAIN = (torch.Tensor, torch.nn.Parameter, torch.nn.Buffer)


@contextmanager
def lent_tensors() -> Iterator[None]:
    """Lend tensors to TorchDynamo as long as it exports; the caller holds the lock of tracing."""
    patched = (_builder, "_clone_input"), (_tensor_variable, "get_real_value")
    if not all(hasattr(module, name) for module, name in patched):
        yield  # A torch that works in another way copies.
        return
    originals: list[Any] = [getattr(module, name) for module, name in patched]
    clone, real_value = originals
    lent: dict[int, torch.Tensor] = {}

    def lend(value: Any, fake_mode: Any) -> Any:
        if type(value) not in _PLAIN or isinstance(value, FakeTensor) or value.is_nested:
            return clone(value, fake_mode)
        lent[id(value)] = value
        return value

    def real_value_of_copies(node: Any, tracer: Any) -> Any:
        cache = tracer.real_value_cache
        for key, value in cache.items():
            if id(value) in lent:
                cache[key] = clone(value, None)
        return real_value(node, tracer)

    try:
        for (module, name), replacement in zip(patched, (lend, real_value_of_copies), strict=True):
            setattr(module, name, replacement)
        yield
    finally:
        for (module, name), original in zip(patched, originals, strict=True):
            setattr(module, name, original)
