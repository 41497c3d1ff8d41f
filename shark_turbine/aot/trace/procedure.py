# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The recording of one procedure: the user's method runs once, on stand-ins."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from shark_turbine import trees
from shark_turbine.errors import SourceLocation, TracingError, TurbineError

from .. import recorder
from ..dims import DimConstraint
from ..program import Procedure
from ..spec import GlobalSpec, Jittable, Member, ProcedureSpec, ProgramSpec
from ..steps import Constant, DimOf, Load, ScalarOperation, Size, Step, Store
from ..types import AbstractIndex, AbstractScalar, TensorType, ValueType
from . import calls, control_flow, procedure_calls, scalars, stores, tensor_operations
from .contracts import Contracts
from .export_errors import user_line
from .finish import finish_procedure
from .module_proxy import ModuleProxy, plain
from .scalar_dims import ScalarDims
from .values import Proxy, ScalarProxy, TensorProxy

if TYPE_CHECKING:
    from .module import ModuleRecorder


class ProcedureRecorder:
    """Records what one method does: values are numbered, dims are tracked, steps are appended."""

    def __init__(self, module: ModuleRecorder, spec: ProcedureSpec) -> None:
        self.module = module
        self.spec = spec
        self.where = f"{module.spec.label}.{spec.name}"
        self.types: list[ValueType] = []
        self.steps: list[Step] = []
        self.contracts = Contracts(spec.name)
        self.dims = ScalarDims(self)
        self.calling: list[ProcedureSpec] = [spec]
        self._blocks = [0]
        self._block_count = 0
        self._block_of: list[int] = []

    def record(self) -> Procedure:
        """Run the method and return what it did."""
        arguments = [
            self._argument(parameter.name, parameter.value) for parameter in self.spec.parameters
        ]
        self.contracts.seal_arguments(len(self.types))
        positional = [
            value
            for value, parameter in zip(arguments, self.spec.parameters, strict=True)
            if not parameter.keyword_only
        ]
        keywords = {
            parameter.name: value
            for value, parameter in zip(arguments, self.spec.parameters, strict=True)
            if parameter.keyword_only
        }
        try:
            with recorder.recording(self):
                result = self.spec.function(ModuleProxy(self), *positional, **keywords)
        except TurbineError as error:
            error.name_place(self.where)
            raise
        except Exception as failure:
            location = user_line(failure) or self.spec.location
            raise TracingError(
                f"the method failed while it was traced: {type(failure).__name__}: {failure}",
                where=self.where,
                location=location,
                got=location.source_line() or None,
                expected="a method that runs on stand-ins, whose values are not known yet",
                fix="compute with tensors in an aot.jittable; the cause is shown above",
            ) from failure
        return finish_procedure(self, plain(result))

    def _argument(self, name: str, declared: Any) -> Any:
        """Make the stand-ins of one parameter."""
        leaves = trees.leaves_with_paths(declared)
        return trees.unflatten(
            declared, [self._argument_leaf(name + leaf.path, leaf.value) for leaf in leaves]
        )

    def _argument_leaf(self, name: str, declared: Any) -> Proxy:
        if isinstance(declared, AbstractScalar):
            return ScalarProxy(self, self.new_value(declared), declared, name)
        shape = tuple(
            dim if isinstance(dim, int) else self.contracts.argument_dim(name, axis, dim)
            for axis, dim in enumerate(declared.size)
        )
        value_type = TensorType(declared.dtype, shape)
        value = self.new_value(value_type)
        self.contracts.locate(value, name, shape)
        return TensorProxy(self, value, value_type, name)

    def owned(self, leaves: list[Any]) -> list[Any]:
        """Refuse stand-ins of another procedure, or of a block that is over: they mean nothing here."""
        for leaf in leaves:
            if not isinstance(leaf, (TensorProxy, ScalarProxy)):
                continue
            if leaf._recorder is not self:
                owner = f"another procedure, {leaf._recorder.where}"
                fix = "compute it here too, or keep it in a mutable global"
            elif self._block_of[leaf.value] not in self._blocks:
                owner = "a branch or loop body that is over"
                fix = (
                    "return it from that function: aot.cond and the loops give back what it returns"
                )
            else:
                continue
            raise TracingError(
                f"{leaf._name} belongs to {owner}",
                where=self.where,
                location=self.user_location(),
                got=f"{leaf._name}: {leaf.type}",
                expected="values that this procedure was given, read or computed",
                fix=fix,
            )
        return leaves

    def is_of_this_block(self, proxy: Proxy) -> bool:
        """Say whether a value was made in the block that is being recorded, not in one around it."""
        return self._block_of[proxy.value] == self._blocks[-1]

    @contextmanager
    def block(self) -> Iterator[list[Step]]:
        """Record the steps of a branch or a loop body, which may not run; gives their list."""
        outer, self.steps = self.steps, []
        self._block_count += 1
        self._blocks.append(self._block_count)
        try:
            with self.contracts.block(), self.dims.block():
                yield self.steps
        finally:
            self._blocks.pop()
            self.steps = outer

    def new_value(self, value_type: ValueType) -> int:
        """Return the id of a new value."""
        self.types.append(value_type)
        self._block_of.append(self._blocks[-1])
        return len(self.types) - 1

    def user_location(self) -> SourceLocation | None:
        """Return the user's line that is being executed in this procedure."""
        return SourceLocation.of_user()

    # What `self` asks for.

    def member(self, name: str) -> Member | None:
        return self.module.spec.members.get(name)

    def member_names(self) -> list[str]:
        return list(self.module.spec.members)

    def load_global(self, spec: GlobalSpec) -> Proxy:
        """Read a global."""
        if isinstance(spec.type, AbstractScalar):
            value = self.new_value(spec.type)
            self.steps.append(Load(value, spec.symbol))
            return ScalarProxy(self, value, spec.type, f"self.{spec.label}", spec.symbol)
        value_type = stores.global_type(spec)
        value = self.new_value(value_type)
        self.steps.append(Load(value, spec.symbol))
        return TensorProxy(self, value, value_type, f"self.{spec.label}", spec.symbol)

    def check_store(self, spec: GlobalSpec, value: Any) -> None:
        self.owned([value])
        stores.check_store(self, spec, value)

    def store_global(self, spec: GlobalSpec, value: Any) -> None:
        """Write a global; `check_store` passed before."""
        stored = stores.converted(self, spec, value)
        self.steps.append(Store(spec.symbol, stored))

    def set_global(self, symbol: str | None, name: str, value: Any) -> None:
        spec = self.module.globals.get(symbol or "")
        if spec is None:
            raise TracingError(
                f"{name} was not read from a global: there is nothing to set",
                where=self.where,
                location=self.user_location(),
                got=f"{name}.set(...)",
                expected="set() on a value that was read as self.<global>",
                fix="declare state in the class body: aot.export_global(..., mutable=True)",
            )
        self.check_store(spec, value)
        self.store_global(spec, value)

    # Numbers.

    def constant(self, value: bool | int | float, value_type: AbstractScalar) -> ScalarProxy:
        result = self.new_value(value_type)
        self.steps.append(Constant(result, value))
        return ScalarProxy(self, result, value_type, repr(value))

    def size_of(self, tensor: TensorProxy, axis: int) -> int | ScalarProxy:
        self.owned([tensor])
        dim = tensor.type.shape[axis]
        return dim if isinstance(dim, int) else self.dims.scalar_of(dim)

    def measure(self, source: DimOf, name: str) -> ScalarProxy:
        """Read a size."""
        result = self.new_value(AbstractIndex)
        self.steps.append(Size(result, source))
        return ScalarProxy(self, result, AbstractIndex, name)

    def scalar_operation(self, operator: str, *operands: Any) -> ScalarProxy:
        return scalars.record_operation(self, operator, operands)

    def append_operation(
        self, operator: str, operands: Sequence[ScalarProxy], value_type: AbstractScalar
    ) -> ScalarProxy:
        result = self.new_value(value_type)
        ids = tuple(operand.value for operand in operands)
        self.steps.append(ScalarOperation(result, operator, ids))
        return ScalarProxy(self, result, value_type, "a computed number")

    # Calls, branches and loops, operations on tensors.

    def call_jittable(
        self,
        jittable: Jittable,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        constraints: Sequence[DimConstraint],
    ) -> Any:
        return calls.record_jittable_call(self, jittable, args, kwargs, constraints)

    def call_program(
        self, spec: ProgramSpec, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        return calls.record_program_call(self, spec, args, kwargs)

    def call_procedure(
        self, spec: ProcedureSpec, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        return procedure_calls.record_procedure_call(self, spec, args, kwargs)

    def record_cond(
        self,
        predicate: Any,
        true_fn: Callable[..., Any],
        false_fn: Callable[..., Any],
        operands: Sequence[Any],
    ) -> Any:
        return control_flow.record_cond(self, predicate, true_fn, false_fn, operands)

    def record_while(
        self, cond_fn: Callable[..., Any], body_fn: Callable[..., Any], carried: Sequence[Any]
    ) -> Any:
        return control_flow.record_while(self, cond_fn, body_fn, carried)

    def record_fori(
        self, lower: Any, upper: Any, body_fn: Callable[[Any, Any], Any], initial: Any
    ) -> Any:
        return control_flow.record_fori(self, lower, upper, body_fn, initial)

    def tensor_dim(self, tensor: Any, axis: int, dtype: AbstractScalar | torch.dtype | None) -> Any:
        return tensor_operations.record_dim(self, tensor, axis, dtype)

    def tensor_empty(self, dims: Sequence[Any], dtype: torch.dtype) -> Any:
        return tensor_operations.record_empty(self, dims, dtype)

    def tensor_splat(self, dims: Sequence[Any], value: Any, dtype: torch.dtype) -> Any:
        return tensor_operations.record_splat(self, dims, value, dtype)

    def tensor_reshape(self, tensor: Any, dims: Sequence[Any]) -> Any:
        return tensor_operations.record_reshape(self, tensor, dims)

    def tensor_slice(self, tensor: Any, indices: Sequence[Any]) -> Any:
        return tensor_operations.record_slice(self, tensor, indices)

    def tensor_update(self, target: Any, update: Any, start: Sequence[Any]) -> Any:
        return tensor_operations.record_update(self, target, update, start)

    def tensor_load(self, tensor: Any, indices: Sequence[Any]) -> Any:
        return tensor_operations.record_load(self, tensor, indices)

    def tensor_trace(self, key: str, tensors: Sequence[Any]) -> None:
        tensor_operations.record_trace(self, key, tensors)
