# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""DOOR 1: what the user declared. Frozen; nothing is traced and no MLIR exists yet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import torch

from .. import dtypes, trees
from ..checkpoints import StoredTensor
from ..errors import SourceLocation
from . import recorder
from .dims import DimConstraint
from .types import AbstractScalar, AbstractTensor, AbstractValue


@dataclass(frozen=True, slots=True)
class Inline:
    """The value is stored in the module."""

    value: torch.Tensor | bool | int | float


@dataclass(frozen=True, slots=True)
class External:
    """The value is a parameter that is attached when the vmfb is loaded.

    `aliases` are other keys that a file may hold it under: the names of tied weights. `value` is what
    the parameter was at export: a tensor in memory or in a checkpoint; None is not known.
    """

    scope: str
    key: str
    aliases: tuple[str, ...] = ()
    value: torch.Tensor | StoredTensor | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Uninitialized:
    """The value is undefined until it is first stored."""


@dataclass(frozen=True, slots=True)
class Zero:
    """The value is all zeros."""


InitialValue = Inline | External | Uninitialized | Zero


@dataclass(frozen=True, slots=True)
class GlobalSpec:
    """One piece of module state. `label` is how the user would write it: `params['w']`.

    `identities` are the tensors that this global stands for: a function that captures one of them
    reads the global.
    """

    symbol: str
    label: str
    type: AbstractValue
    initial: InitialValue
    mutable: bool
    identities: tuple[torch.Tensor, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        mutable = "mutable " if self.mutable else ""
        return f"global {mutable}@{self.symbol}: {describe(self.type)} = {_initial(self.initial)}"


@dataclass(frozen=True, slots=True)
class GlobalTree:
    """The globals of one attribute: a structure whose leaves are `GlobalSpec`s."""

    structure: Any

    def __iter__(self) -> Iterator[GlobalSpec]:
        return iter(trees.leaves(self.structure))

    def __str__(self) -> str:
        return "\n  ".join(str(spec) for spec in self)


@dataclass(frozen=True, slots=True)
class ParameterSpec:
    """A parameter of a procedure: its name and its declared structure of abstract values."""

    name: str
    value: Any
    keyword_only: bool = False

    def __str__(self) -> str:
        return f"{self.name}: {trees.map_leaves(describe, self.value)}".replace("'", "")


@dataclass(frozen=True, slots=True)
class ProcedureSpec:
    """One exported method: traced by calling `function` with stand-ins for self and parameters."""

    name: str
    function: Callable[..., Any]
    parameters: tuple[ParameterSpec, ...]
    location: SourceLocation

    def __str__(self) -> str:
        shown = ", ".join(str(parameter) for parameter in self.parameters)
        return f"procedure @{self.name}({shown})"


@dataclass(frozen=True, slots=True)
class ProgramSpec:
    """A `torch.export.ExportedProgram` that becomes a function; private ones serve procedures.

    `dim_names` says what the user calls the symbols of its dynamic dims; `external` says which of its
    parameters and buffers are not stored in the module, by their qualified names.
    """

    name: str
    program: torch.export.ExportedProgram
    is_public: bool
    location: SourceLocation | None = None
    decomposition_table: Mapping[Any, Callable[..., Any]] | None = None
    dim_names: Mapping[str, str] = field(default_factory=dict[str, str])
    external: Mapping[str, External] = field(default_factory=dict[str, External])

    def __str__(self) -> str:
        return f"{'program' if self.is_public else 'private program'} @{self.name}"


@dataclass(frozen=True, slots=True, eq=False)
class Jittable:
    """A declared torch function. Called in a procedure it is recorded; elsewhere it runs eagerly.

    `constraints` of a call are `dynamic_dim` comparisons that hold for it, and are checked when the
    compiled function runs.
    """

    function: Callable[..., Any]
    name: str
    decomposition_table: Mapping[Any, Callable[..., Any]] | None = None
    constraints: Callable[..., Sequence[DimConstraint]] | None = None
    location: SourceLocation | None = None

    def __call__(
        self, *args: Any, constraints: Sequence[DimConstraint] | None = None, **kwargs: Any
    ) -> Any:
        current = recorder.current()
        if current is None:
            return self.function(*args, **kwargs)
        return current.call_jittable(self, args, kwargs, () if constraints is None else constraints)

    def __str__(self) -> str:
        return f"jittable @{self.name}"


@dataclass(frozen=True, slots=True)
class Helper:
    """A method whose name starts with `_`: not exported, runs inside the procedures that call it."""

    name: str
    function: Callable[..., Any]

    def __str__(self) -> str:
        return f"helper {self.name}"


Member = ProcedureSpec | ProgramSpec | Jittable | GlobalTree | Helper


@dataclass(frozen=True, slots=True)
class ModuleSpec:
    """A module as declared: its MLIR name and its members in declaration order.

    `own` names the members that the class itself declares; the others come from its bases. `rewrites`
    turn the recorded program into the one that is emitted, in order.
    """

    name: str
    label: str
    members: Mapping[str, Member]
    own: tuple[str, ...] = ()
    location: SourceLocation | None = None
    rewrites: tuple[Callable[[Any], Any], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "members", MappingProxyType(dict(self.members)))

    def globals(self) -> dict[str, GlobalSpec]:
        """Return every global once, by symbol, in declaration order."""
        found: dict[str, GlobalSpec] = {}
        for member in self.members.values():
            if isinstance(member, GlobalTree):
                found.update((spec.symbol, spec) for spec in member if spec.symbol not in found)
        return found

    def __str__(self) -> str:
        lines = [f"module @{self.name}", *(f"  {member}" for member in self.members.values())]
        return "\n".join(lines)


def tensor_identity(tensor: torch.Tensor) -> object:
    """Return what two tensors share when they are the same memory seen in the same way."""
    if tensor.numel() == 0 or tensor.device.type == "meta" or tensor.layout is not torch.strided:
        return id(tensor)
    memory = (tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride())
    return (*memory, tensor.is_conj(), tensor.is_neg())


def describe(value: Any) -> str:
    """Show an abstract value in short: `f32[2, n]`, `i64`."""
    if isinstance(value, AbstractTensor):
        dims = ", ".join("?" if dim is None else str(dim) for dim in value.size)
        return f"{dtypes.from_torch(value.dtype)}[{dims}]"
    if isinstance(value, AbstractScalar):
        return value.name
    return repr(value)


def _initial(initial: InitialValue) -> str:
    match initial:
        case Inline(torch.Tensor()):
            return "inline"
        case Inline(value):
            return str(value)
        case External(scope, key):
            return f"external {scope}::{key}"
        case Uninitialized():
            return "uninitialized"
        case Zero():
            return "zero"
