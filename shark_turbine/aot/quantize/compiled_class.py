# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Quantization of a CompiledModule: a pass over the program that tracing recorded.

The class and its torch functions stay as they are. In the program each quantized global becomes two,
`<symbol>.q8` (or `.q4`) and `<symbol>.scales`; the graphs that read it compute with those.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import torch

from shark_turbine.errors import DeclarationError

from ..compiled_module import CompiledModuleMeta
from ..program import GlobalVar, Program
from ..spec import External, InitialValue, Inline, ModuleSpec, tensor_identity
from ..trace import record_module
from ..types import AbstractTensor
from .graphs import feeding_weights, rewrite_function
from .loads import dequantizing_function, replace_loads
from .report import QuantizationReport, measure
from .stored import Options, StoredWeight, nothing_to_quantize, store


def quantize_class(
    cls: CompiledModuleMeta, options: Options
) -> tuple[CompiledModuleMeta, QuantizationReport]:
    """Return a class derived from `cls` that quantizes when it is built, and the report.

    Raises:
        TurbineError: `cls` cannot be traced.
        DeclarationError: see `aot.quantize`.
    """
    spec: ModuleSpec = vars(cls)["_spec"]
    quantization = ProgramQuantization(options)
    report = quantization.report(record_module(spec), spec.label)
    body = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
    derived = type(cls)(cls.__name__, (cls,), body, export_name=spec.name)
    derived._spec = dataclasses.replace(spec, rewrites=(*spec.rewrites, quantization))
    return derived, report


class ProgramQuantization:
    """The pass; it keeps what it quantized, for each building of the class."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._stored: dict[object, tuple[torch.Tensor, StoredWeight]] = {}

    def __call__(self, program: Program) -> Program:
        """Return the program with quantized globals; the graphs of `program` are rewritten in place."""
        chosen = {item.symbol: self._store(item) for item in self._chosen(program)}
        functions = tuple(rewrite_function(item, chosen) for item in program.jit_functions)
        procedures, read = replace_loads(program.procedures, chosen)
        readers = (
            dequantizing_function(symbol, chosen[symbol]) for symbol in chosen if symbol in read
        )
        return dataclasses.replace(
            program,
            globals=tuple(new for item in program.globals for new in _globals(item, chosen)),
            jit_functions=(*functions, *readers),
            procedures=procedures,
        )

    def report(self, program: Program, label: str) -> QuantizationReport:
        """Quantize, and tell what it cost.

        Raises:
            DeclarationError: there is nothing to quantize, or a weight cannot be.
        """
        chosen = list(self._chosen(program))
        if not chosen:
            raise nothing_to_quantize(f"{label}: no exported parameter was chosen")
        symbols = {item.symbol for item in chosen}
        kept = sum(_bytes(item) for item in program.globals if item.symbol not in symbols)
        group_size = self._options.group_size
        weights = (
            measure(_value(item), self._store(item), name_of(item), group_size)  # type: ignore[arg-type]
            for item in chosen
        )
        return QuantizationReport(tuple(weights), kept)

    def _chosen(self, program: Program) -> Iterator[GlobalVar]:
        feeding = {symbol for item in program.jit_functions for symbol in feeding_weights(item)}
        for item in program.globals:
            value = _value(item)
            if item.symbol not in feeding or value is None:
                continue
            if not self._options.accepts(value, [name_of(item)]):
                continue
            if item.mutable:
                raise DeclarationError(
                    f"{name_of(item)} is mutable: what is stored into it later is not quantized",
                    where="aot.quantize",
                    got=f"a mutable global of shape {list(value.shape)}",
                    expected="weights that do not change",
                    fix="export it without mutable=True, or leave it out: "
                    f"filter_fn=lambda weight, name: name != {name_of(item)!r}",
                )
            yield item

    def _store(self, item: GlobalVar) -> StoredWeight:
        weight = _value(item)
        assert weight is not None  # `_chosen` looked.
        key = (tensor_identity(weight), weight._version)
        if key not in self._stored:
            self._stored[key] = (weight, store(weight, name_of(item), self._options))
        return self._stored[key][1]


def name_of(item: GlobalVar) -> str:
    """Return the logical name of a global, the one that `name_mapper` gets too."""
    return item.symbol.removeprefix("_")


def _value(item: GlobalVar) -> torch.Tensor | None:
    """Return the tensor that a global holds at first, where it is known."""
    value = item.initial.value if isinstance(item.initial, (Inline, External)) else None
    return value if isinstance(value, torch.Tensor) else None


def _bytes(item: GlobalVar) -> int:
    value = _value(item)
    return 0 if value is None or item.mutable else value.nbytes


def _globals(item: GlobalVar, chosen: dict[str, StoredWeight]) -> Iterator[GlobalVar]:
    stored = chosen.get(item.symbol)
    if stored is None:
        yield item
        return
    for suffix, tensor in zip(stored.suffixes, (stored.data, stored.scales), strict=True):
        yield GlobalVar(
            symbol=item.symbol + suffix,
            type=AbstractTensor(*tensor.shape, dtype=tensor.dtype),
            initial=_initial(item.initial, suffix, tensor),
            mutable=False,
        )


def _initial(initial: InitialValue, suffix: str, tensor: torch.Tensor) -> InitialValue:
    if not isinstance(initial, External):
        return Inline(tensor)
    aliases = tuple(alias + suffix for alias in initial.aliases)
    return External(initial.scope, initial.key + suffix, aliases, tensor)
