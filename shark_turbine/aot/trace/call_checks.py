# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Whether a call of a jittable fits the Python function, said before torch traces it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from shark_turbine.errors import SourceLocation, TracingError

from ..spec import Jittable


def check_call(
    jittable: Jittable,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    where: str,
    location: SourceLocation | None,
) -> None:
    """Refuse a call with arguments that the function does not have.

    Raises:
        TracingError: arguments are missing, too many, or of another name.
    """
    function = jittable.function
    try:
        signature = inspect.signature(
            function.forward if isinstance(function, torch.nn.Module) else function
        )
    except (TypeError, ValueError):
        return  # Functions written in C have no signature; torch says what they take.
    try:
        signature.bind(*args, **kwargs)
    except TypeError as failure:
        given = [*("..." for _ in args), *(f"{name}=..." for name in kwargs)]
        takes_self = next(iter(signature.parameters), None) == "self"
        without = list(signature.parameters)[1:]
        raise TracingError(
            f"self.{jittable.name} is called with other arguments than it takes: {failure}",
            where=where,
            location=location,
            got=f"{jittable.name}({', '.join(given)})",
            expected=f"{jittable.name}{signature}",
            fix=f"a jittable takes no self: def {jittable.name}({', '.join(without)})"
            if takes_self
            else "pass an argument for every parameter that has no default",
        ) from None
