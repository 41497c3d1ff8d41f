# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The results of a call: printed for people, as JSON, or written to numpy's files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import numpy as np

from shark_turbine import dtypes
from shark_turbine.errors import CommandLineError
from shark_turbine.files import new_file
from shark_turbine.runtime.tensors import to_numpy
from shark_turbine.signature import Constant, MappingTree, SequenceTree, Tree

Keys = tuple[str | int, ...]

# More elements than this are elided where people read them.
_MOST_PRINTED = 1000


@dataclass(frozen=True, slots=True)
class Result:
    """A leaf of what a function returned: the way to it, and an array or a number."""

    keys: Keys
    value: Any

    @property
    def name(self) -> str:
        return "result" + "".join(f"[{key!r}]" for key in self.keys)

    @property
    def dtype(self) -> str:
        """The name in our table, or Python's for what is no array."""
        if isinstance(self.value, np.ndarray):
            return dtypes.from_numpy(self.value.dtype).name
        return type(self.value).__name__


def places_of(tree: Tree, keys: Keys = ()) -> Iterator[Keys]:
    """Yield the ways to the leaves of a result; what is None is none."""
    match tree:
        case SequenceTree(_, items):
            for index, item in enumerate(items):
                yield from places_of(item, (*keys, index))
        case MappingTree(items):
            for key, item in items:
                yield from places_of(item, (*keys, key))
        case Constant(value) if value is None:
            return
        case _:
            yield keys


def results_of(tree: Tree, value: Any) -> list[Result]:
    """Return the leaves of what a function returned."""
    return [Result(keys, to_numpy(reduce(getitem, keys, value))) for keys in places_of(tree)]


def check_files(tree: Tree, paths: Sequence[Path]) -> None:
    """Check that there are files for the results of a function.

    Raises:
        CommandLineError: there are more or fewer.
    """
    count = len(list(places_of(tree)))
    holds_all = len(paths) == 1 and paths[0].suffix == ".npz"
    if paths and not holds_all and len(paths) != count:
        raise CommandLineError(
            f"the function gives {count} result{'s' * (count != 1)}",
            got=f"{len(paths)} --output",
            expected="a .npy file for each, or one .npz file",
        )


def write_results(results: Sequence[Result], paths: Sequence[Path]) -> None:
    """Write results to files that `check_files` has passed, each whole or not at all.

    Raises:
        CommandLineError: the format has no such dtype, or two results would have one name.
        SaveError: a file cannot be written.
    """
    for result in results:
        if np.asarray(result.value).dtype.isbuiltin != 1:
            raise CommandLineError(
                f"a {paths[0].suffix} file cannot hold {result.name}",
                got=f"{result.dtype}, which numpy does not have itself",
                fix="print it, or return .float() from the program",
            )
    if paths[0].suffix == ".npz":
        # numpy calls what has no name so too.
        arrays = {".".join(map(str, each.keys)) or "arr_0": each.value for each in results}
        if len(arrays) < len(results):
            raise CommandLineError(
                "two results would have one name in the file",
                got=", ".join(result.name for result in results),
                fix="--output @file.npy for each",
            )
        with new_file(paths[0]) as (file, publish):
            np.savez(file, allow_pickle=False, **arrays)
            publish()
        return
    for path, result in zip(paths, results, strict=True):
        with new_file(path) as (file, publish):
            np.save(file, result.value, allow_pickle=False)
            publish()


def print_results(results: Sequence[Result]) -> None:
    """Print results for people; of large ones the corners."""
    for result in results:
        if isinstance(result.value, np.ndarray):
            print(f"{result.name}: {result.dtype}[{', '.join(map(str, result.value.shape))}]")
            print(np.array2string(result.value, threshold=_MOST_PRINTED))
        else:
            print(f"{result.name}: {result.value!r}")


def results_to_json(results: Sequence[Result], paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Return what JSON can hold of results; the names of files instead of values, if there are some."""
    shown: list[dict[str, Any]] = []
    for index, result in enumerate(results):
        entry: dict[str, Any] = {
            "name": result.name,
            "dtype": result.dtype,
            "shape": list(np.shape(result.value)),
        }
        if paths:
            entry["file"] = str(paths[min(index, len(paths) - 1)])
        else:
            entry["values"] = _plain(np.asarray(result.value).tolist())
        shown.append(entry)
    return shown


def _plain(value: Any) -> Any:
    """Return what JSON can hold: it has no complex numbers, no infinities and no NaN."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, complex):
        return [_plain(value.real), _plain(value.imag)]
    if isinstance(value, (bool, int, str)):
        return value
    number = float(value)
    return number if np.isfinite(number) else str(number)
