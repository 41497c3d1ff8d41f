# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The operators on quantized matrices (`shark_turbine/quantized.py`) as functions of `linalg` loops.

Torch operations would not do: a conversion to float in front of a matmul is a dispatch of its own,
which writes the whole matrix on each call. Here it is part of the loop that multiplies. The order
of the loops decides which code the compiler generates; these were the fastest of those measured
(`docs/quantization.md`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from shark_turbine import dtypes, ir
from shark_turbine.quantized import TILE

_Size = int | str  # a dynamic size is the name of the value that holds it


class QuantizedFunctions:
    """The functions of one module: one for each operator and shape."""

    def __init__(self, module: Any) -> None:
        self._module = module
        self._names: dict[str, str] = {}

    def call(self, node: fx.Node, operands: Sequence[Any]) -> Any:
        """Write the call of an operator at the insertion point and return its result, a vtensor."""
        text = FORMS[node.target](node)
        name = self._names.get(text)
        if name is None:
            kind = str(node.target).split(".")[1].removeprefix("quantized_")
            # No symbol of a user has both a dot and a dollar sign after a letter in front.
            name = self._names[text] = f"quantized.{kind}${len(self._names)}"
            self._write(text.replace("@function", f"@{name}", 1))
        context = self._module.context
        inputs = [
            ir.Operation.create(
                "torch_c.to_builtin_tensor",
                results=[ir.Type.parse(_type(argument), context)],
                operands=[operand],
            ).result
            for argument, operand in zip(tensor_arguments(node), operands, strict=True)
        ]
        result = ir.Operation.create(
            "func.call",
            results=[ir.Type.parse(_type(node), context)],
            operands=inputs,
            attributes={"callee": ir.FlatSymbolRefAttr.get(name)},
        ).result
        value = node.meta["val"]
        shape = [size if isinstance(size, int) else None for size in value.shape]
        wanted = ir.torch_tensor_type(dtypes.from_torch(value.dtype), shape, context)
        return ir.Operation.create(
            "torch_c.from_builtin_tensor", results=[wanted], operands=[result]
        ).result

    def _write(self, text: str) -> None:
        parsed = ir.Module.parse(text, self._module.context)
        self._module.body.append(parsed.body.operations[0].operation.detach_from_parent())


def tensor_arguments(node: fx.Node) -> list[fx.Node]:
    """Return the arguments of an operator that are tensors, in order."""
    values = [argument for argument in node.args if isinstance(argument, fx.Node)]
    return [value for value in values if isinstance(value.meta["val"], torch.Tensor)]


def _linear(node: fx.Node) -> str:
    """`result[m, n, u] = Σg scales[n, g, u] * Σk x[m, g, k] * data[n, g, k, u]`, m any number of dims.

    Over one row (a step of decoding) the loop over groups is the outer one.
    """
    x = tensor_arguments(node)[0]
    element, lead, matrix = _element(x), _sizes(x)[:-1], _Matrix.of(node)
    names = [f"m{axis}" for axis in range(len(lead))]
    is_one_row = all(size == 1 for size in lead)
    partial = ["g", "n", *names, "u"] if is_one_row else [*names, "n", "g", "u"]
    loops = partial if is_one_row else ["n", "g", *names, "u"]
    known = {
        "n": matrix.tiles,
        "g": matrix.groups,
        "u": TILE,
        **dict(zip(names, lead, strict=True)),
    }
    sums = _tensor([known[name] for name in partial], "f32")
    totals = _tensor([*lead, matrix.tiles, TILE], "f32")
    split = _tensor([*lead, matrix.groups, matrix.group], element)
    shape = ", ".join(map(str, [*lead, matrix.groups, matrix.group]))
    last_two = _last_two(len(lead))
    return _function(
        f"%x: {_type(x)}, {matrix.parameters}",
        _type(node),
        *_measure("%x", _type(x), lead),
        *matrix.unpack,
        f"%split = tensor.expand_shape %x {last_two} output_shape [{shape}] : {_type(x)} into {split}",
        *_zeros("%zero_sums", sums, lead),
        _generic(
            "%sums",
            {"%split": split, "%integers": matrix.type},
            ("%zero_sums", sums),
            _maps([*loops, "k"], [*names, "g", "k"], ["n", "g", "k", "u"], partial),
            reductions=1,
        ),
        f"^bb0(%v: {element}, %i: {matrix.element}, %sum: f32):",
        *_converted("%factor", "%v", element, "f32"),
        f"%f = arith.sitofp %i : {matrix.element} to f32",
        "%product = arith.mulf %factor, %f : f32",
        "%next = arith.addf %sum, %product : f32",
        f"linalg.yield %next : f32 }} -> {sums}",
        *_zeros("%zero_totals", totals, lead),
        _generic(
            "%totals",
            {"%sums": sums, "%scales": matrix.scales_type},
            ("%zero_totals", totals),
            _maps(["n", *names, "u", "g"], partial, ["n", "g", "u"], [*names, "n", "u"]),
            reductions=1,
        ),
        "^bb0(%v: f32, %scale: f32, %sum: f32):",
        "%product = arith.mulf %v, %scale : f32",
        "%next = arith.addf %sum, %product : f32",
        f"linalg.yield %next : f32 }} -> {totals}",
        *_narrow(lead, element, totals, matrix),
        *_join("%narrow", [*lead, matrix.tiles, TILE], element, len(lead), _sizes(node)),
    )


def _narrow(lead: Sequence[_Size], element: str, totals: str, matrix: _Matrix) -> list[str]:
    """Convert `%totals` to the dtype of the result as `%narrow`."""
    narrow = _tensor([*lead, matrix.tiles, TILE], element)
    dims = [f"d{axis}" for axis in range(len(lead) + 2)]
    return [
        *_empty("%empty_narrow", narrow, lead),
        _generic(
            "%narrow", {"%totals": totals}, ("%empty_narrow", narrow), _maps(dims, dims, dims)
        ),
        f"^bb0(%v: f32, %unused: {element}):",
        *_converted("%r", "%v", "f32", element),
        f"linalg.yield %r : {element} }} -> {narrow}",
    ]


def _embedding(node: fx.Node) -> str:
    """`result[m, g, k] = scales[t, g, u] * data[t, g, k, u]`, `t` and `u` the tile and lane of index m."""
    indices = tensor_arguments(node)[0]
    element, lead, matrix = _element(node), _sizes(indices), _Matrix.of(node)
    names = [f"m{axis}" for axis in range(len(lead))]
    rows = _tensor([*lead, matrix.groups, matrix.group], element)
    return _function(
        f"%indices: {_type(indices)}, {matrix.parameters}",
        _type(node),
        *_measure("%indices", _type(indices), lead),
        *matrix.unpack,
        f"%lanes = arith.constant {TILE} : index",
        *_empty("%empty", rows, lead),
        _generic(
            "%rows",
            {"%indices": _type(indices)},
            ("%empty", rows),
            _maps([*names, "g", "k"], names, [*names, "g", "k"]),
        ),
        f"^bb0(%index: {_element(indices)}, %unused: {element}):",
        f"%row = arith.index_cast %index : {_element(indices)} to index",
        "%tile = arith.divui %row, %lanes : index",
        "%lane = arith.remui %row, %lanes : index",
        f"%g = linalg.index {len(lead)} : index",
        f"%k = linalg.index {len(lead) + 1} : index",
        f"%i = tensor.extract %integers[%tile, %g, %k, %lane] : {matrix.type}",
        f"%scale = tensor.extract %scales[%tile, %g, %lane] : {matrix.scales_type}",
        f"%f = arith.sitofp %i : {matrix.element} to f32",
        "%product = arith.mulf %f, %scale : f32",
        *_converted("%r", "%product", "f32", element),
        f"linalg.yield %r : {element} }} -> {rows}",
        f"%joined = tensor.collapse_shape %rows {_last_two(len(lead))} : {rows} into {_type(node)}",
        f"return %joined : {_type(node)}",
    )


def _dequantize(node: fx.Node) -> str:
    """`result[n, u, g, k] = scales[n, g, u] * data[n, g, k, u]`."""
    element, matrix = _element(node), _Matrix.of(node)
    columns = matrix.groups * matrix.group
    sizes = [matrix.tiles, TILE, matrix.groups, matrix.group]
    values, joined = _tensor(sizes, element), _tensor([matrix.tiles * TILE, columns], element)
    return _function(
        matrix.parameters,
        _type(node),
        *matrix.unpack,
        *_empty("%empty", values, sizes),
        _generic(
            "%values",
            {"%integers": matrix.type, "%scales": matrix.scales_type},
            ("%empty", values),
            _maps([*"nugk"], [*"ngku"], [*"ngu"], [*"nugk"]),
        ),
        f"^bb0(%i: {matrix.element}, %scale: f32, %unused: {element}):",
        f"%f = arith.sitofp %i : {matrix.element} to f32",
        "%product = arith.mulf %f, %scale : f32",
        *_converted("%r", "%product", "f32", element),
        f"linalg.yield %r : {element} }} -> {values}",
        f"%joined = tensor.collapse_shape %values [[0, 1], [2, 3]] : {values} into {joined}",
        *_cut("%joined", joined, [matrix.tiles * TILE, columns], 0, _sizes(node), _type(node)),
    )


FORMS: dict[Any, Callable[[fx.Node], str]] = {
    torch.ops.shark_turbine.quantized_linear.default: _linear,
    torch.ops.shark_turbine.quantized_embedding.default: _embedding,
    torch.ops.shark_turbine.dequantize.default: _dequantize,
}


# ------------------------------------------------------------------------------ pieces of the text --


@dataclass(frozen=True, slots=True)
class _Matrix:
    """The stored matrix of an operator: `%integers` and `%scales` in the text."""

    tiles: int
    groups: int
    group: int
    bits: int

    @classmethod
    def of(cls, node: fx.Node) -> _Matrix:
        data = tensor_arguments(node)[-2].meta["val"]
        return cls(*data.shape[:3], bits=8 if data.dtype is torch.int8 else 4)

    @property
    def element(self) -> str:
        return f"i{self.bits}"

    @property
    def type(self) -> str:
        return _tensor([self.tiles, self.groups, self.group, TILE], self.element)

    @property
    def scales_type(self) -> str:
        return _tensor([self.tiles, self.groups, TILE], "f32")

    @property
    def _stored(self) -> str:
        return _tensor([self.tiles, self.groups, self.group, TILE * self.bits // 8], "i8")

    @property
    def parameters(self) -> str:
        data = "%integers" if self.bits == 8 else "%data"
        return f"{data}: {self._stored}, %scales: {self.scales_type}"

    @property
    def unpack(self) -> list[str]:
        if self.bits == 8:
            return []
        return [f"%integers = flow.tensor.bitcast %data : {self._stored} -> {self.type}"]


def _function(parameters: str, result: str, *lines: str) -> str:
    return "\n".join([f"func.func private @function({parameters}) -> {result} {{", *lines, "}"])


def _generic(
    name: str, inputs: dict[str, str], output: tuple[str, str], maps: str, reductions: int = 0
) -> str:
    """Return the head of a `linalg.generic`; its last loops are the reductions."""
    loops = maps.partition("(")[2].partition(")")[0].count(",") + 1
    kinds = ['"parallel"'] * (loops - reductions) + ['"reduction"'] * reductions
    return (
        f"{name} = linalg.generic {{indexing_maps = [{maps}], iterator_types = [{', '.join(kinds)}]}}"
        f" ins({', '.join(inputs)} : {', '.join(inputs.values())}) outs({output[0]} : {output[1]}) {{"
    )


def _maps(loops: Sequence[str], *operands: Sequence[str]) -> str:
    return ", ".join(f"affine_map<({', '.join(loops)}) -> ({', '.join(o)})>" for o in operands)


def _zeros(name: str, kind: str, sizes: Sequence[_Size]) -> list[str]:
    return [
        *_empty(f"{name}_empty", kind, sizes),
        f"{name}_number = arith.constant 0.0 : f32",
        f"{name} = linalg.fill ins({name}_number : f32) outs({name}_empty : {kind}) -> {kind}",
    ]


def _empty(name: str, kind: str, sizes: Sequence[_Size]) -> list[str]:
    dynamic = ", ".join(size for size in sizes if isinstance(size, str))
    return [f"{name} = tensor.empty({dynamic}) : {kind}"]


def _measure(name: str, kind: str, sizes: Sequence[_Size]) -> list[str]:
    """Read the dynamic sizes of a value, with the names that `_sizes` gives them."""
    lines: list[str] = []
    for axis, size in enumerate(sizes):
        if isinstance(size, str):
            lines.append(f"%axis{axis} = arith.constant {axis} : index")
            lines.append(f"{size} = tensor.dim {name}, %axis{axis} : {kind}")
    return lines


def _last_two(lead: int) -> str:
    groups = [*([axis] for axis in range(lead)), [lead, lead + 1]]
    return str(groups)


def _join(
    name: str, sizes: Sequence[_Size], element: str, lead: int, wanted: Sequence[_Size]
) -> list[str]:
    """Join the tiles of the last dim, and leave out the rows that fill the last tile."""
    joined = [*sizes[:lead], int(sizes[lead]) * TILE]
    kind, result = _tensor(joined, element), _tensor(wanted, element)
    source = _tensor(sizes, element)
    return [
        f"%joined = tensor.collapse_shape {name} {_last_two(lead)} : {source} into {kind}",
        *_cut("%joined", kind, joined, lead, wanted, result),
    ]


def _cut(
    name: str,
    kind: str,
    sizes: Sequence[_Size],
    axis: int,
    wanted: Sequence[_Size],
    result: str,
) -> list[str]:
    if sizes[axis] == wanted[axis]:
        return [f"return {name} : {kind}"]
    offsets = ", ".join("0" for _ in sizes)
    lengths = ", ".join(map(str, wanted))
    strides = ", ".join("1" for _ in sizes)
    return [
        f"%cut = tensor.extract_slice {name}[{offsets}] [{lengths}] [{strides}] : {kind} to {result}",
        f"return %cut : {result}",
    ]


def _converted(name: str, value: str, element: str, wanted: str) -> list[str]:
    """Convert a float to another type; for the same type this is an operation that folds away."""
    widths = int(element[-2:]), int(wanted[-2:])
    verb = "bitcast" if element == wanted else "extf" if widths[0] < widths[1] else "truncf"
    return [f"{name} = arith.{verb} {value} : {element} to {wanted}"]


def _sizes(node: fx.Node) -> list[_Size]:
    sizes = enumerate(node.meta["val"].shape)
    return [size if isinstance(size, int) else f"%size{axis}" for axis, size in sizes]


def _element(node: fx.Node) -> str:
    return dtypes.from_torch(node.meta["val"].dtype).mlir


def _type(node: fx.Node) -> str:
    return _tensor(_sizes(node), _element(node))


def _tensor(sizes: Sequence[_Size], element: str) -> str:
    dims = "".join(f"{size}x" if isinstance(size, int) else "?x" for size in sizes)
    return f"tensor<{dims}{element}>"
