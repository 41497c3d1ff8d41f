# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""From a piece of a graph to machine code that runs: lower, compile, load."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from shark_turbine import compiler, runtime
from shark_turbine.decompositions import prepare_graph
from shark_turbine.fx_import import module_of_graph
from shark_turbine.signature import FunctionSignature

from .assembly import Run
from .freezing import FrozenRun
from .options import Options
from .pieces import Piece, to_graph
from .report import PieceReport
from .work import device_of

_NAME = "graph"
_SCOPE = "model"


@dataclass(frozen=True, slots=True)
class Lowered:
    """A piece as MLIR; `frozen` are the places of those inputs that are parameters of the module."""

    piece: Piece
    module: Any
    signature: FunctionSignature
    frozen: tuple[int, ...]
    seconds: float


def lower(piece: Piece, frozen: Collection[fx.Node] = ()) -> Lowered:
    """Write a piece as a module with the one function `main`.

    Raises:
        TurbineError: an operator or a value has no form in a module.
    """
    start = time.perf_counter()
    graph_module = to_graph(piece)
    prepare_graph(graph_module)
    places = tuple(place for place, node in enumerate(piece.inputs) if node in frozen)
    module, signature = module_of_graph(
        graph_module,
        name=_NAME,
        parameters=[piece.inputs[place].name for place in places],
        scope=_SCOPE,
    )
    return Lowered(piece, module, signature, places, time.perf_counter() - start)


def compile_piece(lowered: Lowered, options: Options) -> tuple[Run, PieceReport]:
    """Compile and load a piece; the run takes and gives flat values.

    Raises:
        CompileError: the compiler refuses it.
    """
    start = time.perf_counter()
    piece = lowered.piece
    vmfb, is_cached = _vmfb(lowered, options)
    device = device_of(piece, options)
    report = PieceReport(
        operators=len(piece.nodes),
        device=device,
        is_cached=is_cached,
        lowering_seconds=lowered.seconds,
        compile_seconds=time.perf_counter() - start,
    )
    if not lowered.frozen:
        function = runtime.load(vmfb, device=device)["main"]
        return runtime.direct(function, piece.input_orders, piece.output_orders), report

    def bind(tensors: Mapping[int, torch.Tensor]) -> Run:
        return _bind(piece, vmfb, device, tensors)

    def compile_live() -> Run:
        return compile_piece(lower(piece), options)[0]

    return FrozenRun(lowered.frozen, bind, compile_live), report


def _bind(
    piece: Piece, vmfb: compiler.Vmfb, device: str, tensors: Mapping[int, torch.Tensor]
) -> Run:
    """Load a piece over parameters, given by their places among its inputs."""
    named: dict[str, torch.Tensor] = {}
    for place, tensor in tensors.items():
        order = piece.input_orders[place]
        named[piece.inputs[place].name] = tensor if order is None else tensor.permute(order)
    index = runtime.parameters_in_memory(named)
    function = runtime.load(vmfb, device=device, parameters={_SCOPE: index})["main"]
    orders = [order for place, order in enumerate(piece.input_orders) if place not in tensors]
    return runtime.direct(function, orders, piece.output_orders)


def _vmfb(lowered: Lowered, options: Options) -> tuple[compiler.Vmfb, bool]:
    keywords: dict[str, Any] = {
        # Whoever freezes parameters has them twice, for the speed of packed ones.
        "recipe": "prepacked" if lowered.frozen and options.recipe == "auto" else options.recipe,
        "flags": options.flags,
        "signatures": [lowered.signature],
        "name": _NAME,
        "stateful": False,
        "preserves_inputs": True,
        "diagnose": False,  # `probing` asks about each operation by itself
    }
    if not options.cache:
        return compiler.compile(lowered.module, **keywords), False
    vmfb, outcome = compiler.compile_cached(lowered.module, **keywords)
    return vmfb, outcome.hit
