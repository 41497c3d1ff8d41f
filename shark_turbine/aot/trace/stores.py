# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What may be stored in a global, and what may be passed to a private program: types match exactly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from shark_turbine.errors import DimensionError, TracingError

from ..dims import DimVar
from ..spec import GlobalSpec, ProgramSpec, describe
from ..types import AbstractScalar, AbstractTensor, TensorType, scalar_type_of
from . import scalars
from .values import ScalarProxy, TensorProxy

if TYPE_CHECKING:
    from .capture import Captured
    from .procedure import ProcedureRecorder


def global_type(spec: GlobalSpec) -> TensorType:
    """Return the type of a tensor global, whose sizes are all fixed."""
    declared = spec.type
    if not isinstance(declared, AbstractTensor):
        raise TypeError(f"{spec.label} is a scalar")
    return TensorType(declared.dtype, tuple(int(dim or 0) for dim in declared.size))


def check_store(recorder: ProcedureRecorder, spec: GlobalSpec, value: Any) -> None:
    """Refuse a store that the global does not take.

    Raises:
        TracingError: the global is immutable, or the value is of another kind or dtype.
        DimensionError: the value has another shape, or one that is not known to be the same.
    """
    if not spec.mutable:
        raise TracingError(
            f"self.{spec.label} is assigned, but it was declared immutable",
            where=recorder.where,
            location=recorder.user_location(),
            got=str(spec),
            expected="a global declared with mutable=True",
            fix="aot.export_global(..., mutable=True)",
        )
    if isinstance(spec.type, AbstractScalar):
        _check_scalar(recorder, spec, spec.type, value)
        return
    if not isinstance(value, TensorProxy):
        raise _mismatch(recorder, spec, _shown(value), _fix_for(value))
    if value.dtype != spec.type.dtype:
        raise _mismatch(recorder, spec, str(value.type), f"x.to({spec.type.dtype}) in a jittable")
    _check_shape(recorder, spec, value)


def _check_shape(recorder: ProcedureRecorder, spec: GlobalSpec, value: TensorProxy) -> None:
    shape = global_type(spec).shape
    plan = recorder.contracts.plan
    same_rank = len(shape) == value.ndim
    if same_rank and all(
        plan.are_equal(ours, theirs) for ours, theirs in zip(value.type.shape, shape, strict=True)
    ):
        return
    unknown = [
        f"x.dynamic_dim({axis}) == {size}"
        for axis, (dim, size) in enumerate(zip(value.type.shape, shape, strict=False))
        if isinstance(plan.resolve(dim), DimVar)
    ]
    raise DimensionError(
        f"self.{spec.label} is assigned a value of another shape",
        where=recorder.where,
        location=recorder.user_location(),
        got=str(value.type),
        expected=describe(spec.type),
        fix=f"constrain it at a call: constraints=[{', '.join(unknown)}]"
        if same_rank and unknown
        else "slice, pad or reshape the value in a jittable first",
    )


def _check_scalar(
    recorder: ProcedureRecorder, spec: GlobalSpec, declared: AbstractScalar, value: Any
) -> None:
    if isinstance(value, ScalarProxy) and (
        value.type == declared or {value.type.name, declared.name} == {"i64", "index"}
    ):
        return
    if isinstance(value, bool):
        accepted = declared.name == "bool"
    elif isinstance(value, int):
        accepted = declared.name != "bool" and _fits(value, declared)
    else:
        accepted = isinstance(value, float) and declared.is_float
    if not accepted:
        raise _mismatch(recorder, spec, _shown(value), _fix_for_number(spec, declared, value))


def _fits(value: int, declared: AbstractScalar) -> bool:
    bits = 32 if declared.name == "i32" else 64
    return declared.is_float or -(2 ** (bits - 1)) <= value < 2 ** (bits - 1)


def converted(recorder: ProcedureRecorder, spec: GlobalSpec, value: Any) -> int:
    """Return the value to store: a Python number becomes a constant of the global's type.

    An index is stored as an i64, and the other way round.
    """
    if isinstance(value, TensorProxy):
        return value.value
    declared = spec.type
    if not isinstance(declared, AbstractScalar):
        raise TypeError(f"{spec.label} is a tensor")
    if isinstance(value, ScalarProxy):
        return scalars.adapted(recorder, value, declared, spec.label).value
    return recorder.constant(float(value) if declared.is_float else value, declared).value


def check_program_arguments(
    recorder: ProcedureRecorder,
    spec: ProgramSpec,
    captured: Captured,
    proxies: Sequence[TensorProxy | ScalarProxy],
) -> None:
    """Refuse a call of a private program whose arguments are not those it was exported for.

    Raises:
        TracingError: another number, dtype or shape of arguments.
    """
    expected = captured.function.parameters
    got = [proxy.type for proxy in proxies]
    fits = len(expected) == len(got) and all(
        _accepts(recorder, ours, theirs) for ours, theirs in zip(expected, got, strict=True)
    )
    if not fits:
        raise TracingError(
            f"self.{spec.name} was exported for other arguments",
            where=recorder.where,
            location=recorder.user_location(),
            got=", ".join(str(value_type) for value_type in got) or "no arguments",
            expected=", ".join(str(value_type) for value_type in expected) or "no arguments",
            fix="pass what torch.export.export was given",
        )


def _accepts(recorder: ProcedureRecorder, declared: Any, given: Any) -> bool:
    if isinstance(declared, AbstractScalar) or isinstance(given, AbstractScalar):
        return declared == given
    if declared.dtype != given.dtype or len(declared.shape) != len(given.shape):
        return False
    return all(
        isinstance(ours, DimVar) or recorder.contracts.plan.are_equal(theirs, ours)
        for ours, theirs in zip(declared.shape, given.shape, strict=True)
    )


def _mismatch(recorder: ProcedureRecorder, spec: GlobalSpec, got: str, fix: str) -> TracingError:
    return TracingError(
        f"self.{spec.label} is assigned a value of another type",
        where=recorder.where,
        location=recorder.user_location(),
        got=got,
        expected=describe(spec.type),
        fix=fix,
    )


def _shown(value: Any) -> str:
    if isinstance(value, (TensorProxy, ScalarProxy)):
        return str(value.type)
    return f"{type(value).__name__}: {value!r}"


def _fix_for_number(spec: GlobalSpec, declared: AbstractScalar, value: Any) -> str:
    if isinstance(value, TensorProxy):
        return f"declare the global as a tensor: aot.AbstractTensor(dtype={value.dtype})"
    if isinstance(value, ScalarProxy):
        return f"declare the global as aot.{value.type!r}, or the value as aot.{declared!r}"
    if isinstance(value, int) and not isinstance(value, bool) and declared.name == "i32":
        return "declare the global as aot.AbstractI64"
    if isinstance(value, float) and declared.is_integer and value == value // 1:
        return f"self.{spec.label} = {int(value)}"
    if isinstance(value, (int, float)):
        return f"declare the global as aot.{scalar_type_of(value)!r}"
    return f"assign a number that is {declared}"


def _fix_for(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return "make the constant in a jittable: aot.jittable(lambda: tensor)()"
    if isinstance(value, (ScalarProxy, bool, int, float)):
        return "make a tensor of the number in a jittable, with torch.full"
    return "assign a tensor of the procedure: an argument, a global, or a jittable's result"
