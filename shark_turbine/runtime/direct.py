# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Calls without questions: for callers who know that their values fit.

`torch.compile` guards sizes, dtypes and strides itself before it calls; to look again would cost more
than a small function takes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from iree.runtime import VmVariantList

from . import devices, failures
from .function import REFUSALS, LoadedFunction, is_inside
from .tensors import ALIGNMENT, Borrowed, shares_memory, to_dlpack
from .watching import begin, watchers

Order = Sequence[int] | None


def direct(
    function: LoadedFunction, input_orders: Sequence[Order], output_orders: Sequence[Order]
) -> Callable[[Sequence[Any]], list[Any]]:
    """Return a function from flat tensors and numbers to flat tensors.

    Args:
        function: what to call. Its arguments are taken as they are: a tensor of another dtype or
            size than it was compiled for, or a negated view, is undefined behaviour.
        input_orders: for each argument the permutation under which it is passed: the function takes
            `tensor.permute(order)`. None passes it as it is.
        output_orders: for each result the permutation under which it comes: the result is given as
            a tensor whose `permute(order)` the function made.

    The returned function raises what a call of `function` raises of the artifact's own checks.
    """
    module, native, unpacks = function.module, function.native, function.unpacks
    pack_all, arity, count = _packing(function), len(function.packs), len(unpacks)
    permuted = [(index, order) for index, order in enumerate(input_orders) if order is not None]
    inverses = [
        (index, _inverse(order)) for index, order in enumerate(output_orders) if order is not None
    ]

    def call(values: Sequence[Any]) -> list[Any]:
        context = module.context
        if context is None or module.device.lost:
            module.refuse()
        if permuted:
            values = list(values)
            for index, order in permuted:
                values[index] = values[index].permute(order)
        inputs, outputs = VmVariantList(arity), VmVariantList(count)
        borrowed = pack_all(values, inputs)
        end = begin(function, values) if watchers else None
        try:
            context.invoke(native, inputs, outputs)
        except REFUSALS as error:
            raise failures.from_call(error, function.__qualname__) from error
        if end is not None:
            end()
        results = [unpack(outputs, index) for index, unpack in enumerate(unpacks)]
        _separate(results, borrowed)
        for index, order in inverses:
            results[index] = results[index].permute(order)
        return results

    devices.waits_for(call)
    return call


def _packing(function: LoadedFunction) -> Callable[[Sequence[Any], Any], Borrowed]:
    """Return a function that appends values to the VM inputs, and gives the memory that is lent."""
    import_view = function.module.device.hal.from_dlpack_capsule
    # Types that need no more than an address, where that is aligned and the memory contiguous.
    plain = [shares_memory(argument.type) for argument in function.signature.arguments]
    ways = list(zip(plain, function.packs, strict=True))

    def pack_all(values: Sequence[Any], inputs: Any) -> Borrowed:
        push = inputs.push_ref
        borrowed: Borrowed = []
        for value, (is_plain, pack) in zip(values, ways):  # noqa: B905  costs as much as a push
            if is_plain and value.is_contiguous():
                start = value.data_ptr()
                if start and not start % ALIGNMENT:
                    borrowed.append((start, start + value.nbytes))
                    push(import_view(to_dlpack(value)))
                    continue
            pack(value, inputs, borrowed)
        return borrowed

    return pack_all


def _inverse(order: Sequence[int]) -> list[int]:
    return sorted(range(len(order)), key=order.__getitem__)


def _separate(results: list[Any], borrowed: Borrowed) -> None:
    """Copy what is an argument handed through, or shares memory with another result.

    Two results may be one buffer (the compiler computes equal values once), and a caller may write
    to one of them.
    """
    if len(results) == 1:
        if is_inside(results[0].data_ptr(), borrowed):
            results[0] = results[0].clone()
        return
    places = sorted(
        (result.data_ptr(), result.data_ptr() + result.nbytes, index)
        for index, result in enumerate(results)
    )
    end = 0
    for start, stop, index in places:
        if start < end or (start and is_inside(start, borrowed)):
            results[index] = results[index].clone()
        end = max(end, stop)
