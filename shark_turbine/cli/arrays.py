# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""From the words after `--input` to arrays."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from shark_turbine import dtypes
from shark_turbine.errors import CommandLineError

from .input_spec import InputSpec

_BOOLS = {"true": True, "1": True, "false": False, "0": False}


def row_of(spec: InputSpec) -> dtypes.DType:
    """Return the row of the dtype that a spec names.

    Raises:
        CommandLineError: there is none.
    """
    name = spec.dtype or ""
    try:
        return dtypes.from_name(name)
    except KeyError:
        # By other names: float32 and torch.float32 are f32.
        torch_names = {str(row.torch).removeprefix("torch."): row.name for row in dtypes.TABLE}
        names = [row.name for row in dtypes.TABLE]
        close = (
            [torch_names[name]] if name in torch_names else difflib.get_close_matches(name, names)
        )
        raise CommandLineError(
            f"--input {spec.text}: there is no dtype {name!r}",
            expected=f"one of {', '.join(names)}",
            fix=f"did you mean {close[0]!r}?" if close else None,
        ) from None


def to_array(spec: InputSpec, sizes: Sequence[int]) -> Any:
    """Return the array or the number of a spec; `sizes` stand for its dims.

    Raises:
        CommandLineError: a file cannot be read, or values do not fit the dtype or the size.
    """
    if spec.dtype is None:
        return _number(spec.values) if spec.file is None else _read_array(spec)
    row = row_of(spec)
    if spec.file is not None:
        return _read_bytes(spec, row, sizes)
    if spec.values is None:
        return np.zeros(sizes, row.numpy)
    values = _values(spec, spec.values, row)
    if len(values) == 1:
        return np.full(sizes, values[0], row.numpy)
    if len(values) != math.prod(sizes):
        raise CommandLineError(
            f"--input {_shortened(spec.text)}: the number of values does not fit the shape",
            got=f"{len(values)} values",
            expected=f"1 value, or {math.prod(sizes)} for {'x'.join(map(str, sizes)) or 'no dims'}",
        )
    return values.reshape(sizes)


def _number(text: str | None) -> bool | int | float:
    words = str(text).lower()
    if words in ("true", "false"):
        return words == "true"
    try:
        return int(words)
    except ValueError:
        return float(words)


def _values(spec: InputSpec, text: str, row: dtypes.DType) -> Any:
    words = [word for word in re.split(r"[\s,\[\]]+", text) if word]
    try:
        return np.array([_element(word, row) for word in words]).astype(row.numpy, casting="unsafe")
    except (ValueError, KeyError, OverflowError) as error:
        raise CommandLineError(
            f"--input {_shortened(spec.text)}: the values cannot be read",
            got=str(error) if isinstance(error, OverflowError) else _shortened(text),
            expected=f"values of {row.name}, with spaces or commas between them",
        ) from error


def _element(word: str, row: dtypes.DType) -> Any:
    if row.name == "bool":
        return _BOOLS[word.lower()]
    if row.torch.is_complex:
        return complex(word)
    if row.torch.is_floating_point:
        return float(word)
    number = int(word, 0)
    limits = np.iinfo(row.numpy)
    if not limits.min <= number <= limits.max:
        raise OverflowError(f"{number}, where {row.name} holds {limits.min} to {limits.max}")
    # Numbers of 64 bits without a sign have no other common type with negative ones.
    return np.array(number, row.numpy)


def _read_array(spec: InputSpec) -> Any:
    """Read `@file.npy`, or `@file.npz:key`."""
    file = str(spec.file)
    try:
        loaded = np.load(file, allow_pickle=False)
    except OSError as error:
        raise _unreadable(spec, error.strerror or error) from error
    except (ValueError, EOFError) as error:
        raise _unreadable(spec, error) from error
    if isinstance(loaded, np.ndarray):
        return loaded
    with loaded as archive:
        keys = list(archive)
        key = spec.key or (keys[0] if len(keys) == 1 else None)
        if key not in keys:
            raise CommandLineError(
                f"{file} has no array {spec.key!r}" if spec.key else f"{file} holds several arrays",
                expected=f"one of {', '.join(keys)}",
                fix=f"--input @{file}:{keys[0]}" if keys else None,
            )
        try:
            return archive[key]
        except ValueError as error:
            raise _unreadable(spec, error) from error


def _read_bytes(spec: InputSpec, row: dtypes.DType, sizes: Sequence[int]) -> Any:
    try:
        array = np.fromfile(str(spec.file), np.uint8)
    except OSError as error:
        raise _unreadable(spec, error.strerror or error) from error
    if array.nbytes != math.prod(sizes) * row.size:
        raise CommandLineError(
            f"--input {spec.text}: the file does not fit the shape",
            got=f"{spec.file} of {array.nbytes} bytes",
            expected=f"{math.prod(sizes) * row.size} bytes",
        )
    return array.view(row.numpy).reshape(sizes)


def _unreadable(spec: InputSpec, why: object) -> CommandLineError:
    return CommandLineError(
        f"--input {spec.text}: the file cannot be read",
        got=f"{spec.file}: {why}",
        expected="a file that numpy.save or numpy.savez wrote, without pickled objects",
    )


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
