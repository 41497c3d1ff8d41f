# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Module state as users declare it: `export_global`, `export_global_tree`, `export_parameters`, ..."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from shark_turbine import dtypes, trees
from shark_turbine.errors import DeclarationError, SourceLocation, UnsupportedTypeError

from ..spec import (
    External,
    GlobalSpec,
    GlobalTree,
    InitialValue,
    Inline,
    Uninitialized,
    Zero,
    tensor_identity,
)
from ..traits import ExternalTensorTrait
from ..types import AbstractScalar, AbstractTensor, AbstractValue, scalar_type_of
from .naming import symbol_of

NameMapper = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class GlobalOptions:
    """How a global is stored; the arguments of the `export_*` functions."""

    mutable: bool = False
    external: bool | None = None
    external_scope: str | None = None
    name_mapper: NameMapper | None = None
    uninitialized: bool = False

    @property
    def follows_traits(self) -> bool:
        """Whether a tensor's own `ExternalTensorTrait` says where its value is."""
        said = self.external_scope is not None or self.name_mapper is not None
        return self.external is not False and not said and not self.uninitialized


@dataclass(frozen=True, slots=True)
class DeclaredGlobal:
    """One global in a class body, before its attribute name is known; `path` is below it."""

    path: str
    value: torch.Tensor | AbstractValue | bool | int | float
    options: GlobalOptions

    @property
    def type(self) -> AbstractValue:
        """What the global holds."""
        return abstract_type(self.value)


@dataclass(frozen=True, slots=True)
class DeclaredTree:
    """A structure of globals in a class body; indexing reaches into it."""

    structure: Any

    def __getitem__(self, key: Any) -> Any:
        return self.structure[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.structure)

    def __len__(self) -> int:
        return len(self.structure)

    def keys(self) -> Any:
        """Return the keys of a declared mapping, such as the parameters of a module."""
        return self.structure.keys()

    def items(self) -> Any:
        """Return the key and global pairs of a declared mapping."""
        return self.structure.items()


def export_global(
    value: Any,
    name: str = "global",
    mutable: bool | None = None,
    external: bool | None = None,
    external_scope: str | None = None,
    name_mapper: NameMapper | None = None,
    uninitialized: bool | None = None,
) -> Any:
    """Declare one global in the body of a `CompiledModule`.

    Args:
        value: a tensor (stored in the module), an abstract value (starts at zero), or a Python
            number (a scalar: bool, i64 or f64).
        name: the last part of the symbol: attribute `value` gives `@_value.global`.
        mutable: whether procedures may assign it; False by default.
        external: store the value outside the module, as parameter `scope::key` that is attached
            when the vmfb is loaded. By default that is done with tensors that carry an
            `ExternalTensorTrait`.
        external_scope: the scope of an external value; `model` by default.
        name_mapper: maps the logical name (`value.global`) to the external key; None keeps it.
        uninitialized: leave the value undefined until it is stored; needs `mutable=True`.

    Raises:
        DeclarationError: the options contradict each other or the value has no fixed shape.
        UnsupportedTypeError: no compiled module can hold the value.
    """
    if not _is_global_value(value):
        raise UnsupportedTypeError(
            "aot.export_global takes one value",
            got=type(value).__name__,
            expected="a tensor, an abstract value or a Python number",
            fix="use aot.export_global_tree(...) for a structure of them",
        )
    options = _options(mutable, external, external_scope, name_mapper, uninitialized)
    return _declared(name, value, options)


def export_global_tree(
    tree: Any,
    mutable: bool | None = None,
    external: bool | None = None,
    external_scope: str | None = None,
    name_mapper: NameMapper | None = None,
    uninitialized: bool | None = None,
) -> Any:
    """Declare a structure of globals: attribute `state`, leaf `["seq"][1]` gives `@_state.seq.1`.

    Args and errors are those of `export_global`; each leaf of `tree` is one value.
    """
    options = _options(mutable, external, external_scope, name_mapper, uninitialized)
    return DeclaredTree(
        trees.unflatten(
            tree,
            [_declared(leaf.dotted, leaf.value, options) for leaf in trees.leaves_with_paths(tree)],
        )
    )


def export_parameters(
    nn_module: torch.nn.Module,
    mutable: bool | None = None,
    external: bool | None = None,
    external_scope: str | None = None,
    name_mapper: NameMapper | None = None,
    uninitialized: bool | None = None,
) -> Any:
    """Declare every named parameter of `nn_module` as a global, keyed by its qualified name.

    Tied parameters are one global that every one of their names reaches. Args and errors are those
    of `export_global`.
    """
    _check_module("export_parameters", nn_module)
    parameters = dict(nn_module.named_parameters(remove_duplicate=False))
    return export_global_tree(
        parameters, mutable, external, external_scope, name_mapper, uninitialized
    )


def export_buffers(
    nn_module: torch.nn.Module,
    mutable: bool | None = None,
    external: bool | None = None,
    external_scope: str | None = None,
    name_mapper: NameMapper | None = None,
    uninitialized: bool | None = None,
) -> Any:
    """Declare every named buffer of `nn_module` as a global, keyed by its qualified name.

    Export them with `mutable=True` when the module updates them (BatchNorm in training). Args and
    errors are those of `export_global`.
    """
    _check_module("export_buffers", nn_module)
    buffers = dict(nn_module.named_buffers(remove_duplicate=False))
    return export_global_tree(
        buffers, mutable, external, external_scope, name_mapper, uninitialized
    )


def abstract_type(value: Any) -> AbstractValue:
    """Return the abstract value of a global's value."""
    if isinstance(value, (AbstractTensor, AbstractScalar)):
        return value
    if isinstance(value, torch.Tensor):
        return AbstractTensor(*value.shape, dtype=value.dtype)
    return scalar_type_of(value)


class GlobalCollector:
    """Names the globals of a class body; equal tensors become one global."""

    def __init__(self, owner: str, location: SourceLocation | None) -> None:
        self._owner = owner
        self._location = location
        self._known: dict[object, GlobalSpec] = {}
        self._aliases: dict[str, list[str]] = {}

    def adopt(self, tree: GlobalTree) -> None:
        """Take over the globals of a base class."""
        for spec in tree:
            for tensor in spec.identities:
                self._known[tensor_identity(tensor)] = spec

    def collect(self, attribute: str, declared: DeclaredGlobal | DeclaredTree) -> GlobalTree:
        """Give the globals of one attribute their symbols."""
        structure = declared.structure if isinstance(declared, DeclaredTree) else declared
        paths = {id(leaf.value): leaf.path for leaf in trees.leaves_with_paths(structure)}
        tree = GlobalTree(
            trees.map_leaves(
                lambda leaf: self._spec(attribute, leaf, f"{attribute}{paths[id(leaf)]}"),
                structure,
            )
        )
        self._check_symbols(attribute, tree)
        return tree

    def name_aliases(self, tree: GlobalTree) -> GlobalTree:
        """Return the globals with every key that a parameter file may hold them under."""
        if not self._aliases:
            return tree
        return GlobalTree(trees.map_leaves(self._with_aliases, tree.structure))

    def _with_aliases(self, spec: GlobalSpec) -> GlobalSpec:
        aliases = self._aliases.get(spec.symbol)
        if aliases is None or not isinstance(spec.initial, External):
            return spec
        known = dict.fromkeys((*spec.initial.aliases, *aliases))
        known.pop(spec.initial.key, None)
        return replace(spec, initial=replace(spec.initial, aliases=tuple(known)))

    def _check_symbols(self, attribute: str, tree: GlobalTree) -> None:
        named: dict[str, GlobalSpec] = {}
        for spec in tree:
            other = named.setdefault(spec.symbol, spec)
            if other is not spec:
                raise DeclarationError(
                    f"{spec.label} and {other.label} would have the same symbol",
                    where=f"{self._owner}.{attribute}",
                    location=self._location,
                    got=f"@{spec.symbol} for both",
                    expected="keys that differ once they are joined with dots",
                    fix=f"rename a key of {attribute}, or declare the two as two attributes",
                )

    def _spec(self, attribute: str, leaf: DeclaredGlobal, label: str) -> GlobalSpec:
        spec = GlobalSpec(
            symbol=symbol_of(attribute, leaf.path),
            label=label,
            type=leaf.type,
            initial=_initial_value(attribute, leaf),
            mutable=leaf.options.mutable,
            identities=(leaf.value,) if isinstance(leaf.value, torch.Tensor) else (),
        )
        if not isinstance(leaf.value, torch.Tensor):
            return spec
        known = self._known.setdefault(tensor_identity(leaf.value), spec)
        if known.mutable != spec.mutable or type(known.initial) is not type(spec.initial):
            raise DeclarationError(
                f"{label} and {known.label} are the same tensor, declared in different ways",
                where=f"{self._owner}.{attribute}",
                location=self._location,
                got=f"{spec}\n{known}",
                expected="one tensor is one global: the same mutable= and external= everywhere",
                fix=f"export {label} as {known.label} is, or export a clone of it",
            )
        if known is not spec and isinstance(spec.initial, External):
            self._aliases.setdefault(known.symbol, []).append(spec.initial.key)
        return known


def _initial_value(attribute: str, leaf: DeclaredGlobal) -> InitialValue:
    options = leaf.options
    tensor = leaf.value if isinstance(leaf.value, torch.Tensor) else None
    trait = ExternalTensorTrait.get(tensor) if tensor is not None else None
    if trait is not None and options.follows_traits:
        return External(trait.external_scope, trait.external_name, value=tensor)
    if options.external:
        logical = f"{attribute}.{leaf.path}"
        mapped = options.name_mapper(logical) if options.name_mapper is not None else None
        scope = "model" if options.external_scope is None else options.external_scope
        return External(scope, logical if mapped is None else mapped, value=tensor)
    if options.uninitialized:
        return Uninitialized()
    if isinstance(leaf.value, (AbstractTensor, AbstractScalar)):
        return Zero()
    return Inline(leaf.value)


def _options(
    mutable: bool | None,
    external: bool | None,
    external_scope: str | None,
    name_mapper: NameMapper | None,
    uninitialized: bool | None,
) -> GlobalOptions:
    if uninitialized and external:
        raise DeclarationError(
            "a global cannot be both uninitialized and external",
            got="uninitialized=True, external=True",
            expected="one source of the value, or none",
            fix="drop uninitialized=True: an external global gets its value from a parameter file",
        )
    if uninitialized and not mutable:
        raise DeclarationError(
            "an uninitialized global that is never stored would never have a value",
            got=f"uninitialized=True, mutable={mutable}",
            expected="uninitialized=True only where procedures can assign the global",
            fix="add mutable=True",
        )
    if external is not True and (external_scope is not None or name_mapper is not None):
        raise DeclarationError(
            "external_scope and name_mapper say where an external value is",
            got=f"external={external}",
            expected="external_scope and name_mapper only together with external=True",
            fix="add external=True",
        )
    return GlobalOptions(
        mutable=bool(mutable),
        external=external,
        external_scope=external_scope,
        name_mapper=name_mapper,
        uninitialized=bool(uninitialized),
    )


def _is_global_value(value: Any) -> bool:
    abstract = isinstance(value, (AbstractTensor, AbstractScalar))
    return abstract or isinstance(value, (torch.Tensor, np.ndarray, np.generic, bool, int, float))


def _declared(path: str, value: Any, options: GlobalOptions) -> DeclaredGlobal:
    what = "a global" if path == "global" else f"global {path!r}"
    if not _is_global_value(value):
        raise UnsupportedTypeError(
            f"{what} cannot hold this value",
            got=f"{type(value).__name__}: {value!r}"[:80],
            expected="a tensor, an abstract value or a Python number",
            fix="convert it with torch.as_tensor(...)",
        )
    if isinstance(value, (np.ndarray, np.generic)):
        value = torch.as_tensor(np.asarray(value))
    if isinstance(value, torch.Tensor):
        _check_tensor(what, value)
    if isinstance(value, AbstractTensor) and not all(isinstance(d, int) for d in value.size):
        raise DeclarationError(
            f"{what} has a dynamic shape",
            got=repr(value),
            expected="a fixed size for every dim",
            fix="give the largest size, and keep the used length in another global",
        )
    if options.external and not isinstance(value, (torch.Tensor, AbstractTensor)):
        raise DeclarationError(
            f"{what} is a number; only tensors can be external",
            got=repr(value),
            expected="a tensor or an AbstractTensor",
            fix="drop external=True, or give a tensor of no dims: aot.AbstractTensor(dtype=...)",
        )
    return DeclaredGlobal(path, value, options)


def _check_tensor(what: str, tensor: torch.Tensor) -> None:
    dtypes.from_torch(tensor.dtype, what=what)
    if tensor.layout is not torch.strided:
        raise UnsupportedTypeError(
            f"{what} is a sparse tensor",
            got=tensor.layout,
            expected="a dense (strided) tensor",
            fix="convert it with .to_dense()",
        )


def _check_module(function: str, nn_module: object) -> None:
    if not isinstance(nn_module, torch.nn.Module):
        raise DeclarationError(
            f"aot.{function} takes a torch.nn.Module",
            got=type(nn_module).__name__,
            expected="the module itself, such as model, not model.state_dict()",
            fix="use aot.export_global_tree(...) for a dict of tensors",
        )
