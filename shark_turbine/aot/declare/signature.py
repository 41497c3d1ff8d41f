# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Signatures of procedures: default values (or annotations) that are abstract values."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch

from shark_turbine import trees
from shark_turbine.errors import DeclarationError, SourceLocation, UnsupportedTypeError

from ..spec import ParameterSpec, ProcedureSpec
from ..types import AbstractScalar, AbstractTensor
from .globals import DeclaredGlobal, DeclaredTree, abstract_type


def abstractify(tree: Any) -> Any:
    """Return the abstract values of a structure: same structure, types instead of values.

    Args:
        tree: tensors, Python numbers, abstract values, global declarations, and lists, tuples and
            dicts of them.

    Raises:
        UnsupportedTypeError: a leaf is none of these.
    """
    return trees.map_leaves(_abstract_leaf, _open(tree))


def _open(tree: Any) -> Any:
    return tree.structure if isinstance(tree, DeclaredTree) else tree


def _abstract_leaf(value: Any) -> Any:
    if isinstance(value, DeclaredTree):
        return abstractify(value)
    if isinstance(value, DeclaredGlobal):
        return value.type
    if isinstance(value, (AbstractTensor, AbstractScalar, torch.Tensor, bool, int, float)):
        return abstract_type(value)
    raise UnsupportedTypeError(
        "this value has no abstract type",
        got=f"{type(value).__name__}: {value!r}",
        expected="a tensor, a Python number, an abstract value, a global, or a structure of them",
        fix="write the type itself, such as aot.AbstractTensor(2, 3)",
    )


def collect_procedure(owner: str, name: str, function: Callable[..., Any]) -> ProcedureSpec:
    """Read the signature of an exported method.

    Raises:
        DeclarationError: no `self`, a parameter without an abstract default, `*args`, `**kwargs`.
    """
    location = SourceLocation.from_function(function.__code__)
    where = f"{owner}.{name}"
    parameters = list(inspect.signature(function).parameters.values())
    if not parameters or parameters[0].kind not in _POSITIONAL or _is_abstract(parameters[0]):
        raise DeclarationError(
            "an exported method takes self first",
            where=where,
            location=location,
            got=f"def {name}{inspect.signature(function)}",
            expected="self, then parameters that have abstract values as defaults",
            fix=f"def {name}(self, ...), or decorate a torch function with @aot.jittable",
        )
    return ProcedureSpec(
        name=name,
        function=function,
        parameters=tuple(_parameter(where, location, p, function) for p in parameters[1:]),
        location=location,
    )


_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_MISSING = inspect.Parameter.empty


def _parameter(
    where: str,
    location: SourceLocation,
    parameter: inspect.Parameter,
    function: Callable[..., Any],
) -> ParameterSpec:
    name = parameter.name
    if parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
        raise DeclarationError(
            "an exported method has a fixed signature",
            where=where,
            location=location,
            got=str(parameter),
            expected="named parameters, each with an abstract value",
            fix=f"{name}=[aot.AbstractTensor(...), ...]"
            if parameter.kind is inspect.Parameter.VAR_POSITIONAL
            else f"{name}={{'key': aot.AbstractTensor(...), ...}}",
        )
    declared = parameter.default
    if declared is _MISSING:
        declared = _annotation(parameter, function)
    if declared is _MISSING:
        raise DeclarationError(
            f"parameter {name!r} has no type",
            where=where,
            location=location,
            got=str(parameter),
            expected="a default value (or annotation) made of abstract values",
            fix=f"def {function.__name__}(self, ..., {name}=aot.AbstractTensor(2, 3))",
        )
    return ParameterSpec(
        name=name,
        value=_declared_type(where, location, name, declared),
        keyword_only=parameter.kind is inspect.Parameter.KEYWORD_ONLY,
    )


def _annotation(parameter: inspect.Parameter, function: Callable[..., Any]) -> Any:
    """Return an annotation that is a structure of abstract values."""
    annotation = parameter.annotation
    if isinstance(annotation, str):
        try:
            hints = inspect.get_annotations(function, eval_str=True)
        except Exception:
            return _MISSING
        annotation = hints.get(parameter.name, _MISSING)
    return annotation if _is_abstract_tree(annotation) else _MISSING


def _declared_type(where: str, location: SourceLocation, name: str, declared: Any) -> Any:
    opened = _open(declared)
    for leaf in trees.leaves_with_paths(opened):
        if not isinstance(leaf.value, (AbstractTensor, AbstractScalar, DeclaredGlobal)):
            raise DeclarationError(
                f"parameter {name!r} has a default that is not an abstract value",
                where=where,
                location=location,
                got=f"{name}{leaf.path} = {leaf.value!r}",
                expected="aot.AbstractTensor(...), aot.AbstractI32, ... or a structure of them",
                fix=f"{name}=aot.abstractify(...) makes the type of an example value",
            )
    return abstractify(opened)


def _is_abstract(parameter: inspect.Parameter) -> bool:
    return parameter.default is not _MISSING


def _is_abstract_tree(value: Any) -> bool:
    found = trees.leaves(_open(value)) if value is not _MISSING else []
    return bool(found) and all(isinstance(x, (AbstractTensor, AbstractScalar)) for x in found)
