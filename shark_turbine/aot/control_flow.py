# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Branches and loops of procedures: `aot.cond`, `aot.while_loop`, `aot.fori_loop`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from . import recorder


def cond(
    pred: Any,
    true_fn: Callable[..., Any],
    false_fn: Callable[..., Any],
    operands: Sequence[Any] = (),
) -> Any:
    """Run one of two functions in the compiled module; both are traced.

    Args:
        pred: a Python bool (then the function is simply called), a bool scalar, or a bool tensor of one
            element.
        true_fn: called with the operands where `pred` holds.
        false_fn: called with the operands where it does not.
        operands: what both are given. They may also use any value of the procedure, read and assign
            globals, and call jittables and other procedures.

    Returns:
        What the functions return: the same structure of tensors of one dtype and rank, and numbers of
        one type. A dim that differs is dynamic.

    Raises:
        TracingError: the functions return different things, or no procedure is being traced.
    """
    return recorder.require("aot.cond", "torch.cond").record_cond(pred, true_fn, false_fn, operands)


def while_loop(
    cond_fn: Callable[..., Any], body_fn: Callable[..., Any], carried_inputs: Sequence[Any]
) -> Any:
    """Run `body_fn` while `cond_fn` holds, in the compiled module.

    Args:
        cond_fn: takes the carried values, returns a bool scalar, or a bool tensor of one element.
        body_fn: takes the carried values, returns the next ones, of the same structure and types.
        carried_inputs: the first carried values: a tuple or list of pytrees of tensors and numbers.

    Both functions may use any value of the procedure, read and assign globals, and call jittables and
    other procedures. A global that is updated with `IREE.tensor_update` is updated in place; a carried
    tensor is copied by each update.

    Returns:
        The last carried values, as a tuple.

    Raises:
        TracingError: the body changes the structure or a type, or no procedure is being traced.
    """
    active = recorder.require("aot.while_loop", "torch.while_loop")
    return active.record_while(cond_fn, body_fn, carried_inputs)


def fori_loop(
    lower: Any, upper: Any, body_fn: Callable[[Any, Any], Any], init_val: Any = ()
) -> Any:
    """Run `body_fn` for every number from `lower` to `upper`, excluded, in the compiled module.

    Args:
        lower: the first number, an int or an integer scalar.
        upper: the end; where it is not above `lower`, `init_val` is the result.
        body_fn: takes the number (a scalar; i64 for Python numbers) and the carried value, returns
            the next carried value, of the same structure and types.
        init_val: the first carried value: a pytree of tensors and numbers. Without it the loop is for
            its effect on globals.

    Returns:
        The last carried value.

    Raises:
        TracingError: the body changes the structure or a type, or no procedure is being traced.
    """
    active = recorder.require("aot.fori_loop", "a Python for loop, or torch.while_loop")
    return active.record_fori(lower, upper, body_fn, init_val)
