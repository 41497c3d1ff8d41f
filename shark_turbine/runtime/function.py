# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""One loaded function: check, pack, invoke, unpack. The path of every call, so it is kept short."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from iree.runtime import VmVariantList

from ..signature import FunctionSignature, Leaf, SequenceTree, build
from . import devices, failures
from .binding import Binding
from .checks import Sizes, checker, describe
from .tensors import Borrowed, packer, to_numpy, unpacker
from .watching import begin, watchers

if TYPE_CHECKING:
    from .module import LoadedModule

REFUSALS = (
    RuntimeError,
    ValueError,
    IndexError,
    MemoryError,
    NotImplementedError,
    TypeError,
    KeyError,
)


class LoadedFunction:
    """A function of a loaded module.

    Takes torch tensors, numpy arrays and Python numbers as its signature says, by position or by
    keyword. Gives torch tensors back; numpy arrays when there was an array and no tensor among the
    arguments. Results are the caller's own: nothing else reads or writes their memory.

    `load` makes it, as a part of a `LoadedModule`.

    Args:
        module: the module that the function belongs to.
        native: the function of IREE's runtime.
        signature: what the artifact says about arguments and results.
        share: whether the function may be given the caller's own memory.

    Raises:
        ArgumentError: the arguments are not what the function was compiled for; nothing ran.
        ContractError: a check inside the artifact refused them; the message is the contract.
        ExecutionError: the runtime failed.
    """

    def __init__(
        self, module: LoadedModule, native: Any, signature: FunctionSignature, *, share: bool
    ) -> None:
        self.module = module
        self.native = native
        self.signature = signature
        self.__name__ = signature.name
        self.__qualname__ = f"{module.name}.{signature.name}"
        self.__doc__ = f"{signature}" + "".join(f"\n    {text}" for text in signature.contracts)
        hal = module.device.hal
        self._binding = Binding(signature, self.__qualname__, describe)
        self._is_flat = self._binding.is_flat
        self._arity = len(signature.arguments)
        self._checks = [checker(argument, self.__qualname__) for argument in signature.arguments]
        self.packs = [packer(argument.type, hal, share=share) for argument in signature.arguments]
        self.unpacks = [unpacker(kind, hal) for kind in signature.results]
        self._tensor_results = [
            index for index, kind in enumerate(signature.results) if kind.shape is not None
        ]
        self._result = _result_builder(signature)

    def __repr__(self) -> str:
        return f"<{self.module.name}.{self.signature}>"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        module = self.module
        if module.context is None or module.device.lost:
            module.refuse()
        if self._is_flat and not kwargs and len(args) == self._arity:
            values: Sequence[Any] = args
        else:
            values = self._binding.flatten(args, kwargs)
        sizes: Sizes = {}
        checked = [check(value, sizes) for check, value in zip(self._checks, values, strict=True)]
        leaves = self._run(checked)
        if _wants_numpy(values):
            leaves = [to_numpy(leaf) for leaf in leaves]
        return self._result(leaves)

    def _run(self, values: Sequence[Any]) -> list[Any]:
        inputs = VmVariantList(self._arity)
        outputs = VmVariantList(len(self.unpacks))
        borrowed: Borrowed = []
        for pack, value in zip(self.packs, values, strict=True):
            pack(value, inputs, borrowed)
        module = self.module
        context, lock = module.context, module.lock
        if context is None:
            module.refuse()
        end = begin(self, values) if watchers else None
        try:
            if lock is None:
                context.invoke(self.native, inputs, outputs)
            else:
                with lock:
                    context.invoke(self.native, inputs, outputs)
        except REFUSALS as error:
            raise failures.from_call(error, self.__qualname__) from error
        if end is not None:
            end()
        leaves = [unpack(outputs, index) for index, unpack in enumerate(self.unpacks)]
        return self._own(leaves, borrowed) if borrowed or len(leaves) > 1 else leaves

    def _own(self, leaves: list[Any], borrowed: Borrowed) -> list[Any]:
        """Copy what is an argument handed through, or another result once more."""
        taken: set[int] = set()
        for index in self._tensor_results:
            start = leaves[index].data_ptr()
            if start in taken or is_inside(start, borrowed):
                leaves[index] = leaves[index].clone()
            taken.add(start)
        return leaves


def is_inside(address: int, ranges: Borrowed) -> bool:
    """Tell whether an address lies in memory that a caller lent."""
    for low, high in ranges:  # noqa: SIM110  any() over a generator costs four times as much
        if low <= address < high:
            return True
    return False


devices.waits_for(LoadedFunction.__call__)


def _wants_numpy(values: Sequence[Any]) -> bool:
    found = False
    for value in values:
        if isinstance(value, torch.Tensor):
            return False
        found = found or isinstance(value, (np.ndarray, np.generic))
    return found


def _result_builder(signature: FunctionSignature) -> Any:
    tree = signature.result
    if tree == Leaf(0) and len(signature.results) == 1:
        return lambda leaves: leaves[0]
    in_order = tuple(Leaf(index) for index in range(len(signature.results)))
    if isinstance(tree, SequenceTree) and tree.items == in_order:
        return tree.kind
    return lambda leaves: build(tree, leaves)
