# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the words after `--input` mean: the spelling of `iree-run-module`, and dynamic dims.

2x16xf32            a tensor of zeros
2x16xf32=1.5        every element is 1.5
2x2xi64=1 2 3 4     the elements, row by row; brackets and commas may stand between them
2x2xf32=@file.bin   the elements, row by row, as bytes in a file
@file.npy           an array in a file, @file.npz:key one of several
f32=1.5, 1.5        a tensor without dims; a number
batch?x16xf32       a dim called batch that may have any size, ?x16xf32 one without a name
batch?8x16xf32      the same, with 8 as the example
mask:2x16xbool      the argument called mask
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from shark_turbine.errors import CommandLineError

FORMS = "2x16xf32, 2x2xi64=1 2 3 4, batch?x16xf32, @file.npy, @file.npz:key or 1.5; name: before it"

_NAME = re.compile(r"(?P<name>[A-Za-z_][^:=@]*):(?P<rest>.*)", re.DOTALL)
_DIM = re.compile(r"(?:(?P<size>\d+)|(?P<name>[A-Za-z_]\w*)?(?P<any>\?)(?P<example>\d*))x")
_DTYPE = re.compile(r"(?P<dtype>[A-Za-z]\w*(?:<\w+>)?)(?P<values>=.*)?", re.DOTALL)
_NUMBER = re.compile(r"[+-]?(\d[\d_]*\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?(inf|nan)|true|false", re.I)
# What IREE calls dtypes beside the names of our table.
_OTHER_NAMES = {
    "i1": "bool",
    "complex<f32>": "complex64",
    "complex<f64>": "complex128",
    **{f"ui{bits}": f"u{bits}" for bits in (8, 16, 32, 64)},
    **{f"si{bits}": f"i{bits}" for bits in (8, 16, 32, 64)},
}


@dataclass(frozen=True, slots=True)
class DynamicDim:
    """A dim of any size; equal names are equal sizes. `example` is a size to try."""

    name: str | None
    example: int | None


@dataclass(frozen=True, slots=True)
class InputSpec:
    """One argument: an array to make, a file to read, or a number.

    `text` is what the user wrote; `name` the argument that it is for, None for the next one. With a
    `dtype` it is a tensor of `dims`, with `values` in words (None: zeros) or as bytes in `file`.
    Without, it is the array in `file` (under `key`, if there are several), or the number in `values`.
    """

    text: str
    name: str | None = None
    dims: tuple[int | DynamicDim, ...] = ()
    dtype: str | None = None
    values: str | None = None
    file: str | None = None
    key: str | None = None

    @property
    def is_dynamic(self) -> bool:
        return any(isinstance(dim, DynamicDim) for dim in self.dims)


def parse_input(text: str) -> InputSpec:
    """Read the words after `--input`.

    Raises:
        CommandLineError: they mean nothing.
    """
    named = _NAME.fullmatch(text)
    name, rest = (named["name"], named["rest"]) if named is not None else (None, text)
    if rest.startswith("@"):
        file, _, key = rest[1:].partition(".npz:")
        return InputSpec(text, name, file=f"{file}.npz" if key else file, key=key or None)
    if _NUMBER.fullmatch(rest):
        return InputSpec(text, name, values=rest)
    dims, dtype, values = _tensor(rest, text)
    if values is not None and values.startswith("@"):
        return InputSpec(text, name, dims, dtype, file=values[1:])
    return InputSpec(text, name, dims, dtype, values)


def _tensor(rest: str, text: str) -> tuple[tuple[int | DynamicDim, ...], str, str | None]:
    dims: list[int | DynamicDim] = []
    position = 0
    while found := _DIM.match(rest, position):
        position = found.end()
        if found["any"]:
            example = int(found["example"]) if found["example"] else None
            dims.append(DynamicDim(found["name"], example))
        else:
            dims.append(int(found["size"]))
    words = _DTYPE.fullmatch(rest, position)
    if words is None:
        raise _unreadable(text)
    values = words["values"]
    dtype = _OTHER_NAMES.get(words["dtype"], words["dtype"])
    return tuple(dims), dtype, None if values is None else values[1:]


def _unreadable(text: str) -> CommandLineError:
    fix = None
    if re.fullmatch(r"[\d?]+(x[\d?]+)*", text):
        fix = f"say of which type: --input '{text}xf32'"
    elif re.fullmatch(r"(\d+,)*\d+,?", text):
        fix = f"--input {'x'.join(filter(None, text.split(',')))}xf32"
    return CommandLineError(
        "--input cannot be read", got=repr(text), expected=f"a form such as {FORMS}", fix=fix
    )
