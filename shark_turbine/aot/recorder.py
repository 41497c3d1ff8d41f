# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Who is recording now: the one ContextVar of the AOT road.

A jittable asks for the recorder when it is called: inside a procedure the call is recorded, outside
the function simply runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from .dims import DimConstraint
    from .spec import Jittable


class Recorder(Protocol):
    """What can be recorded by a value or a jittable while a procedure runs."""

    def call_jittable(
        self,
        jittable: Jittable,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        constraints: Sequence[DimConstraint],
    ) -> Any: ...


_current: ContextVar[Recorder | None] = ContextVar("shark_turbine_recorder", default=None)


def current() -> Recorder | None:
    """Return the recorder of the procedure that is being traced on this thread, if any."""
    return _current.get()


@contextmanager
def recording(recorder: Recorder | None) -> Iterator[None]:
    """Make `recorder` the current one; None suspends recording (while torch traces a function)."""
    token = _current.set(recorder)
    try:
        yield
    finally:
        _current.reset(token)
