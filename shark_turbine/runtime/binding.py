# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""From the arguments of a Python call to flat values, along the parameters of a signature."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, assert_never

from ..errors import ArgumentError
from ..signature import (
    Constant,
    FunctionSignature,
    Leaf,
    MappingTree,
    Parameter,
    SequenceTree,
    Tree,
    leaf_indices,
)

_MISSING = object()
Describe = Callable[[Any], str]


class Binding:
    """How the calls of one function turn into flat values."""

    __slots__ = ("_by_name", "_describe", "_positional", "_signature", "_where", "is_flat")

    def __init__(self, signature: FunctionSignature, where: str, describe: Describe) -> None:
        self._signature = signature
        self._where = where
        self._describe = describe
        self._positional = tuple(p for p in signature.parameters if not p.keyword_only)
        self._by_name = {parameter.name: parameter for parameter in signature.parameters}
        self.is_flat = len(signature.parameters) == len(signature.arguments) and all(
            parameter.tree == Leaf(index) and not parameter.keyword_only
            for index, parameter in enumerate(signature.parameters)
        )
        """True where a positional call with one value per parameter is flat already."""

    def flatten(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
        """Return the flat values of a call.

        Raises:
            ArgumentError: too many, missing, unknown or doubled arguments, another structure, or
                another value where one was fixed at tracing.
        """
        given = self._by_parameter(args, kwargs)
        flat: list[Any] = [None] * len(self._signature.arguments)
        missing: list[str] = []
        for parameter in self._signature.parameters:
            value = given.get(parameter.name, _MISSING)
            if value is not _MISSING:
                self._fill(parameter.tree, value, parameter.name, flat)
            elif any(True for _ in leaf_indices(parameter.tree)):
                missing.append(parameter.name)
        if missing:
            raise self._error(
                f"missing {_count(missing, 'argument')} {', '.join(missing)}",
                got=self._shown_call(args, kwargs),
            )
        return flat

    def _by_parameter(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        if len(args) > len(self._positional):
            raise self._error(
                f"takes {len(self._positional)} positional {_count(self._positional, 'argument')}, "
                f"{len(args)} were given",
                got=self._shown_call(args, kwargs),
            )
        given = {p.name: value for p, value in zip(self._positional, args, strict=False)}
        for name, value in kwargs.items():
            if name not in self._by_name:
                close = difflib.get_close_matches(name, self._by_name, n=1)
                raise self._error(
                    f"there is no argument called {name!r}",
                    got=self._shown_call(args, kwargs),
                    fix=f"did you mean {close[0]!r}?" if close else None,
                )
            if name in given:
                raise self._error(
                    f"{name} was given twice, by position and by keyword",
                    got=self._shown_call(args, kwargs),
                )
            given[name] = value
        return given

    def _fill(self, tree: Tree, value: Any, path: str, flat: list[Any]) -> None:
        match tree:
            case Leaf(index):
                flat[index] = value
            case Constant(constant):
                self._compare(constant, value, path)
            case SequenceTree(kind, items):
                if not isinstance(value, (list, tuple)) or len(value) != len(items):
                    raise self._misshapen(path, value, f"a {kind.__name__} of {len(items)}")
                for position, item in enumerate(items):
                    self._fill(item, value[position], f"{path}[{position}]", flat)
            case MappingTree(items):
                keys = [key for key, _ in items]
                shown = (
                    f"a dict with the keys {', '.join(map(repr, keys))}"
                    if keys
                    else "an empty dict"
                )
                if not isinstance(value, Mapping):
                    raise self._misshapen(path, value, shown)
                if set(value) != set(keys):
                    raise self._wrong_keys(path, list(value), keys, shown)
                for key, item in items:
                    self._fill(item, value[key], f"{path}[{key!r}]", flat)
            case _:
                assert_never(tree)

    def _compare(self, constant: Any, value: Any, path: str) -> None:
        if constant is value:
            return
        numbers = (int, float)
        if type(constant) is type(value) or (
            isinstance(constant, numbers)
            and isinstance(value, numbers)
            and isinstance(constant, bool) is isinstance(value, bool)
        ):
            both_nan = constant != constant and value != value
            if constant == value or both_nan:
                return
        raise self._error(
            f"{path} was fixed to {constant!r} when the function was compiled",
            got=self._describe(value),
            expected=f"{constant!r}",
            fix=f"{f'leave {path} out' if path.isidentifier() else f'pass {constant!r}'}, "
            "or compile the function for the other value",
        )

    def _misshapen(self, path: str, value: Any, expected: str) -> ArgumentError:
        return self._error(
            f"{path} has another structure than the function was compiled for",
            got=self._describe(value),
            expected=expected,
        )

    def _wrong_keys(
        self, path: str, got: list[Any], keys: list[Any], expected: str
    ) -> ArgumentError:
        absent = [key for key in keys if key not in got]
        extra = [key for key in got if key not in keys]
        parts = [f"lacks {', '.join(map(repr, absent))}"] if absent else []
        parts += [f"has an unknown key {', '.join(map(repr, extra))}"] if extra else []
        close = [
            f"did you mean {match!r} for {key!r}?"
            for key in extra
            for match in difflib.get_close_matches(str(key), [str(k) for k in absent], n=1)
        ]
        return self._error(
            f"{path} {' and '.join(parts)}",
            got=f"a dict with the keys {', '.join(map(repr, got))}" if got else "an empty dict",
            expected=expected,
            fix=" ".join(close) or None,
        )

    def _shown_call(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
        shown = [self._describe(value) for value in args]
        shown += [f"{name}={self._describe(value)}" for name, value in kwargs.items()]
        return f"({', '.join(shown)})"

    def _error(
        self, what: str, *, got: str, expected: str | None = None, fix: str | None = None
    ) -> ArgumentError:
        return ArgumentError(
            what,
            where=self._where,
            got=got,
            expected=str(self._signature) if expected is None else expected,
            fix=fix,
        )


def _count(things: Sequence[Any] | tuple[Parameter, ...], word: str) -> str:
    return word if len(things) == 1 else f"{word}s"
