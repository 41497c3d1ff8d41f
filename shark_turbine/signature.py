# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a compiled function looks like from outside: a door type without torch, MLIR or IREE.

`aot` makes a `FunctionSignature` for each public function, `compiler` writes it as JSON into the
manifest inside the vmfb, `runtime` reads it back to check arguments and to rebuild results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, assert_never

Json = Any


@dataclass(frozen=True, slots=True)
class ValueType:
    """The type of one flat argument or result.

    `dtype` is a name of the dtype table (`f32`, `i64`, `u8`, `bool`, ...). `shape` holds an int for
    a fixed dim and a name for a dynamic one (`n`, `d0`; equal names are equal sizes); None means
    that the value is a scalar that travels by value, not a tensor.
    """

    dtype: str
    shape: tuple[int | str, ...] | None

    def __str__(self) -> str:
        if self.shape is None:
            return self.dtype
        return f"{self.dtype}[{', '.join(str(dim) for dim in self.shape)}]"

    def to_json(self) -> Json:
        return {"dtype": self.dtype, "shape": None if self.shape is None else list(self.shape)}

    @classmethod
    def from_json(cls, data: Json) -> ValueType:
        shape = data["shape"]
        return cls(data["dtype"], None if shape is None else tuple(shape))


@dataclass(frozen=True, slots=True)
class Argument:
    """One flat argument: its path as the user would write it (`x`, `x['a']`, `x[0]`), and its type."""

    name: str
    type: ValueType

    def __str__(self) -> str:
        return f"{self.name}: {self.type}"


STATE_GETTER = "__state.get"
STATE_SETTER = "__state.set"


@dataclass(frozen=True, slots=True)
class StateEntry:
    """A mutable global: its name for users, its symbol, its type.

    An artifact with state has a function that returns the values of all its entries, in order, and one
    that stores them.
    """

    name: str
    symbol: str
    type: ValueType

    def to_json(self) -> Json:
        return {"name": self.name, "symbol": self.symbol, **self.type.to_json()}

    @classmethod
    def from_json(cls, data: Json) -> StateEntry:
        return cls(data["name"], data["symbol"], ValueType.from_json(data))


@dataclass(frozen=True, slots=True)
class Leaf:
    """The value at `index` of the flat arguments or results."""

    index: int


@dataclass(frozen=True, slots=True)
class Constant:
    """A value known when the function was traced: None, a bool, an int, a float or a str."""

    value: None | bool | int | float | str


@dataclass(frozen=True, slots=True)
class SequenceTree:
    """A tuple or a list of trees."""

    kind: type[tuple[Any, ...]] | type[list[Any]]
    items: tuple[Tree, ...]


@dataclass(frozen=True, slots=True)
class MappingTree:
    """A dict of trees, in order; keys are str or int."""

    items: tuple[tuple[str | int, Tree], ...]


Tree = Leaf | Constant | SequenceTree | MappingTree


def build(tree: Tree, leaves: Sequence[Any]) -> Any:
    """Rebuild the Python value that `tree` describes around flat values."""
    match tree:
        case Leaf(index):
            return leaves[index]
        case Constant(value):
            return value
        case SequenceTree(kind, items):
            return kind(build(item, leaves) for item in items)
        case MappingTree(items):
            return {key: build(item, leaves) for key, item in items}
        case _:
            assert_never(tree)


def leaf_indices(tree: Tree) -> Iterator[int]:
    """Yield the flat indices of a tree in order."""
    match tree:
        case Leaf(index):
            yield index
        case Constant():
            return
        case SequenceTree(_, items):
            for item in items:
                yield from leaf_indices(item)
        case MappingTree(items):
            for _, item in items:
                yield from leaf_indices(item)
        case _:
            assert_never(tree)


def format_tree(tree: Tree, leaf: Callable[[int], str]) -> str:
    """Show a tree as Python would show the value, each leaf through `leaf`."""
    match tree:
        case Leaf(index):
            return leaf(index)
        case Constant(value):
            return repr(value)
        case SequenceTree(kind, items):
            shown = ", ".join(format_tree(item, leaf) for item in items)
            if kind is list:
                return f"[{shown}]"
            return f"({shown},)" if len(items) == 1 else f"({shown})"
        case MappingTree(items):
            shown = ", ".join(f"{key!r}: {format_tree(item, leaf)}" for key, item in items)
            return f"{{{shown}}}"
        case _:
            assert_never(tree)


def tree_to_json(tree: Tree) -> Json:
    """Write a tree as JSON: an int is a leaf, an object names what it holds."""
    match tree:
        case Leaf(index):
            return index
        case Constant(value):
            return {"constant": value}
        case SequenceTree(kind, items):
            return {kind.__name__: [tree_to_json(item) for item in items]}
        case MappingTree(items):
            return {"dict": [[key, tree_to_json(item)] for key, item in items]}
        case _:
            assert_never(tree)


def tree_from_json(data: Json) -> Tree:
    """Read what `tree_to_json` wrote."""
    if isinstance(data, int):
        return Leaf(data)
    ((kind, value),) = data.items()
    match kind:
        case "constant":
            return Constant(value)
        case "tuple":
            return SequenceTree(tuple, tuple(tree_from_json(item) for item in value))
        case "list":
            return SequenceTree(list, tuple(tree_from_json(item) for item in value))
        case "dict":
            return MappingTree(tuple((key, tree_from_json(item)) for key, item in value))
        case _:
            raise ValueError(f"unknown tree kind {kind!r}")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of the Python function: its name, the tree over flat arguments, how it is passed.

    A `Constant` tree is a value that was fixed at tracing: a call may repeat it, not change it.
    """

    name: str
    tree: Tree
    keyword_only: bool = False


@dataclass(frozen=True, slots=True)
class FunctionSignature:
    """A public function: parameters over flat arguments, a result tree over flat results.

    `contracts` are the checks that the artifact makes on entry, in words.
    """

    name: str
    parameters: tuple[Parameter, ...]
    arguments: tuple[Argument, ...]
    result: Tree
    results: tuple[ValueType, ...]
    contracts: tuple[str, ...] = ()

    def __str__(self) -> str:
        def shown(parameter: Parameter) -> str:
            kind = format_tree(parameter.tree, lambda index: str(self.arguments[index].type))
            return f"{parameter.name}: {kind}"

        parameters = ", ".join(shown(parameter) for parameter in self.parameters)
        result = format_tree(self.result, lambda index: str(self.results[index]))
        return f"{self.name}({parameters}) -> {result}"

    def to_json(self) -> Json:
        return {
            "name": self.name,
            "parameters": [
                {
                    "name": parameter.name,
                    "tree": tree_to_json(parameter.tree),
                    "keyword_only": parameter.keyword_only,
                }
                for parameter in self.parameters
            ],
            "arguments": [
                {"name": argument.name, **argument.type.to_json()} for argument in self.arguments
            ],
            "result": tree_to_json(self.result),
            "results": [result.to_json() for result in self.results],
            "contracts": list(self.contracts),
        }

    @classmethod
    def from_json(cls, data: Json) -> FunctionSignature:
        return cls(
            name=data["name"],
            parameters=tuple(
                Parameter(item["name"], tree_from_json(item["tree"]), item["keyword_only"])
                for item in data["parameters"]
            ),
            arguments=tuple(
                Argument(item["name"], ValueType.from_json(item)) for item in data["arguments"]
            ),
            result=tree_from_json(data["result"]),
            results=tuple(ValueType.from_json(item) for item in data["results"]),
            contracts=tuple(data["contracts"]),
        )
