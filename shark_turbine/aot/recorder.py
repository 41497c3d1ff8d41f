# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Who is recording now: the one ContextVar of the AOT road.

A jittable asks for the recorder when it is called: inside a procedure the call is recorded, outside
the function simply runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import TracingError

if TYPE_CHECKING:
    import torch

    from .dims import DimConstraint
    from .spec import Jittable
    from .types import AbstractScalar


class Recorder(Protocol):
    """What can be recorded by a value or a jittable while a procedure runs."""

    def call_jittable(
        self,
        jittable: Jittable,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        constraints: Sequence[DimConstraint],
    ) -> Any: ...

    def record_cond(
        self,
        predicate: Any,
        true_fn: Callable[..., Any],
        false_fn: Callable[..., Any],
        operands: Sequence[Any],
    ) -> Any: ...

    def record_while(
        self, cond_fn: Callable[..., Any], body_fn: Callable[..., Any], carried: Sequence[Any]
    ) -> Any: ...

    def record_fori(
        self, lower: Any, upper: Any, body_fn: Callable[[Any, Any], Any], initial: Any
    ) -> Any: ...

    def tensor_dim(
        self, tensor: Any, axis: int, dtype: AbstractScalar | torch.dtype | None
    ) -> Any: ...

    def tensor_empty(self, dims: Sequence[Any], dtype: torch.dtype) -> Any: ...

    def tensor_splat(self, dims: Sequence[Any], value: Any, dtype: torch.dtype) -> Any: ...

    def tensor_reshape(self, tensor: Any, dims: Sequence[Any]) -> Any: ...

    def tensor_slice(self, tensor: Any, indices: Sequence[Any]) -> Any: ...

    def tensor_update(self, target: Any, update: Any, start: Sequence[Any]) -> Any: ...

    def tensor_load(self, tensor: Any, indices: Sequence[Any]) -> Any: ...

    def tensor_trace(self, key: str, tensors: Sequence[Any]) -> None: ...


_current: ContextVar[Recorder | None] = ContextVar("shark_turbine_recorder", default=None)


def current() -> Recorder | None:
    """Return the recorder of the procedure that is being traced on this thread, if any."""
    return _current.get()


def require(operation: str, torch_name: str) -> Recorder:
    """Return the current recorder for an operation that only procedures have.

    Raises:
        TracingError: no procedure is being traced, or torch is tracing a jittable inside one.
    """
    active = _current.get()
    if active is not None:
        return active
    raise TracingError(
        f"{operation} records a step of a procedure, and none is being traced here",
        got=f"{operation}(...)",
        expected="a call inside an exported method of a CompiledModule",
        fix=f"call it in such a method; in jittables and eager code use {torch_name}",
    )


@contextmanager
def recording(recorder: Recorder | None) -> Iterator[None]:
    """Make `recorder` the current one; None suspends recording (while torch traces a function)."""
    token = _current.set(recorder)
    try:
        yield
    finally:
        _current.reset(token)
