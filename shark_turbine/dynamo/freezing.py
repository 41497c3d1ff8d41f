# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Parameters that a compiled piece keeps packed, as long as they do not change."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import fx
from torch._guards import TracingContext

from .assembly import Run

log = logging.getLogger(__name__)

# Packing costs more than a call saves: whoever changes parameters before every call gets none of it.
_MOST_UNUSED = 3


def freezable(graph_module: fx.GraphModule) -> frozenset[fx.Node]:
    """Return the placeholders of the graph that is being compiled that are unchanging parameters.

    These are parameters and buffers of modules, as TorchDynamo knows them, which the graph does not
    write to.
    """
    context = TracingContext.try_get()
    metadata = context.fw_metadata if context is not None else None
    if metadata is None:
        return frozenset()
    placeholders = [node for node in graph_module.graph.nodes if node.op == "placeholder"]
    written = {index for index, info in enumerate(metadata.input_info) if info.mutates_data}
    indices = set(metadata.static_input_indices) - written
    return frozenset(
        placeholders[index]
        for index in indices
        if index < len(placeholders) and _is_plain(placeholders[index].meta.get("val"))
    )


def _is_plain(value: Any) -> bool:
    return (
        isinstance(value, torch.Tensor)
        and value.is_floating_point()
        and all(isinstance(size, int) for size in value.shape)
    )


class FrozenRun:
    """Calls a piece over parameters that it keeps; packs them again when they have changed.

    A tensor counts as changed when it has another address or another version (`Tensor._version`, which
    every operation in place raises). Tensors of inference mode have no version: for them, and for
    parameters that change before every call, the piece that takes its parameters from the
    caller is compiled and used.

    Args:
        places: where the parameters stand among the values of a call.
        bind: makes a run of the other values, over parameters by their places.
        compile_live: makes a run that takes all values.
    """

    def __init__(
        self,
        places: Sequence[int],
        bind: Callable[[Mapping[int, torch.Tensor]], Run],
        compile_live: Callable[[], Run],
    ) -> None:
        self._places = tuple(places)
        self._bind = bind
        self._compile_live = compile_live
        self._lock = threading.Lock()
        self._bound: _Bound | None = None
        self._live: Run | None = None
        self._unused = 0

    def __call__(self, values: Sequence[Any]) -> list[Any]:
        if self._live is not None:
            return self._live(values)
        bound = self._bound
        if bound is None or not bound.fits(values):
            return self._renew(values)(values)
        bound.is_used = True
        return bound(values)

    def _renew(self, values: Sequence[Any]) -> Run:
        with self._lock:
            if self._live is not None:
                return self._live
            bound = self._bound
            if bound is not None and bound.fits(values):
                return bound
            self._unused = self._unused + 1 if bound is not None and not bound.is_used else 0
            tensors = {place: values[place].detach() for place in self._places}
            if self._unused >= _MOST_UNUSED or any(map(torch.is_inference, tensors.values())):
                log.info("parameters that change before every call are not frozen any more")
                self._live = self._compile_live()
                return self._live
            if bound is not None:
                log.info("parameters changed: they are packed again")
            self._bound = _Bound(tensors, self._bind(tensors))
            return self._bound


class _Bound:
    """A run over certain parameters."""

    def __init__(self, tensors: Mapping[int, torch.Tensor], run: Run) -> None:
        self.is_used = False
        # Kept alive: an address means nothing once its tensor is gone.
        self._tensors = tensors
        self._stamps = [
            (place, tensor.data_ptr(), tensor._version) for place, tensor in tensors.items()
        ]
        self._run = run

    def fits(self, values: Sequence[Any]) -> bool:
        for place, address, version in self._stamps:
            value = values[place]
            if value.data_ptr() != address or value._version != version:
                return False
        return True

    def __call__(self, values: Sequence[Any]) -> list[Any]:
        return self._run([value for i, value in enumerate(values) if i not in self._tensors])
