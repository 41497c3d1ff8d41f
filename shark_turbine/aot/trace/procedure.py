# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The recording of one procedure: the user's method runs once, on stand-ins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from shark_turbine import trees
from shark_turbine.errors import SourceLocation, TracingError, TurbineError

from .. import recorder
from ..dims import DimConstraint, DimVar, DynamicDim
from ..program import Call, Constant, Load, Procedure, ScalarOperation, Size, Step, Store
from ..spec import GlobalSpec, Jittable, Member, ProcedureSpec, ProgramSpec
from ..types import AbstractIndex, AbstractScalar, TensorType, ValueType
from . import scalars, stores
from .call_checks import check_call
from .capture import CallShape, Captured, Known, known
from .contracts import Contracts
from .decisions import number_ranges
from .export_errors import CallDescription, user_line
from .finish import finish_procedure
from .graph_types import ConstantOutput, ResultIndex
from .module_proxy import ModuleProxy, plain
from .values import ScalarProxy, TensorProxy

if TYPE_CHECKING:
    from .module import ModuleRecorder

Proxy = TensorProxy | ScalarProxy


class ProcedureRecorder:
    """Records what one method does: values are numbered, dims are tracked, steps are appended."""

    def __init__(self, module: ModuleRecorder, spec: ProcedureSpec) -> None:
        self.module = module
        self.spec = spec
        self.where = f"{module.spec.label}.{spec.name}"
        self.types: list[ValueType] = []
        self.steps: list[Step] = []
        self.contracts = Contracts(spec.name)

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
        """Refuse stand-ins of another procedure: their values mean nothing in this one."""
        for leaf in leaves:
            if isinstance(leaf, (TensorProxy, ScalarProxy)) and leaf._recorder is not self:
                raise TracingError(
                    f"{leaf._name} belongs to another procedure, {leaf._recorder.where}",
                    where=self.where,
                    location=self.user_location(),
                    got=f"{leaf._name}: {leaf.type}",
                    expected="values that this procedure was given, read or computed",
                    fix="compute it here too, or keep it in a mutable global",
                )
        return leaves

    def new_value(self, value_type: ValueType) -> int:
        """Return the id of a new value."""
        self.types.append(value_type)
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
        dim = tensor.type.shape[axis]
        if isinstance(dim, int):
            return dim
        result = self.new_value(AbstractIndex)
        self.steps.append(Size(result, self.contracts.source_of(dim)))
        return ScalarProxy(self, result, AbstractIndex, f"{dim.name}")

    def scalar_operation(self, operator: str, *operands: Any) -> ScalarProxy:
        return scalars.record_operation(self, operator, operands)

    def append_operation(
        self, operator: str, operands: Sequence[ScalarProxy], value_type: AbstractScalar
    ) -> ScalarProxy:
        result = self.new_value(value_type)
        ids = tuple(operand.value for operand in operands)
        self.steps.append(ScalarOperation(result, operator, ids))
        return ScalarProxy(self, result, value_type, "a computed number")

    # Calls.

    def call_jittable(
        self,
        jittable: Jittable,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        constraints: Sequence[DimConstraint],
    ) -> Any:
        """Record a call: capture the function for these types, or reuse it."""
        location = self.user_location()
        arguments = plain((tuple(args), dict(kwargs)))
        declared = jittable.constraints(*args, **kwargs) if jittable.constraints else ()
        self._constrain(declared, location)
        self._constrain(constraints, location)
        leaves = self.owned(trees.leaves(arguments))
        check_call(jittable, args, kwargs, self.where, location)
        shape, values = self._call_shape(arguments, leaves)
        description = CallDescription(
            self.where, jittable.name, location, shape.dim_names, shape.ranges
        )
        captured = self.module.capture(jittable, shape, description)
        proxies = [leaf for leaf in leaves if isinstance(leaf, (TensorProxy, ScalarProxy))]
        for proxy, bounds in zip(proxies, number_ranges(captured.function.program), strict=True):
            if isinstance(proxy, ScalarProxy) and proxy.type == AbstractIndex:
                self.steps.extend(self.contracts.check_index(proxy.value, jittable.name, bounds))
        return self._append_call(captured, values, proxies, jittable.name)

    def call_program(
        self, spec: ProgramSpec, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        """Record a call of a private ExportedProgram."""
        captured = self.module.program(spec)
        leaves = self.owned(trees.leaves(plain((tuple(args), dict(kwargs)))))
        proxies = [leaf for leaf in leaves if isinstance(leaf, (TensorProxy, ScalarProxy))]
        stores.check_program_arguments(self, spec, captured, proxies)
        return self._append_call(captured, [p.value for p in proxies], proxies, spec.name)

    def _constrain(self, given: Sequence[Any], location: SourceLocation | None) -> None:
        for constraint in given if isinstance(given, (list, tuple)) else [[given]]:
            if isinstance(constraint, DynamicDim):
                continue
            if not isinstance(constraint, DimConstraint):
                raise TracingError(
                    "constraints= takes comparisons of dynamic dims",
                    where=self.where,
                    location=location,
                    got=", ".join(str(one) for one in constraint)
                    if isinstance(constraint, (list, tuple))
                    else repr(constraint),
                    expected="a list of comparisons, or bare dynamic dims",
                    fix="constraints=[a.dynamic_dim(0) == b.dynamic_dim(0)]",
                )
            try:
                self.steps.extend(self.contracts.add(constraint, location))
            except TurbineError as error:
                error.name_place(self.where, location)
                raise

    def _call_shape(self, arguments: Any, leaves: Sequence[Any]) -> tuple[CallShape, list[int]]:
        """Describe a call: dims are numbered in order of appearance, equal ones alike."""
        numbering: dict[DimVar, DimVar] = {}
        described: list[ValueType | Known] = []
        values: list[int] = []
        for leaf in leaves:
            if not isinstance(leaf, (TensorProxy, ScalarProxy)):
                described.append(known(leaf))
                continue
            values.append(leaf.value)
            described.append(self._canonical(leaf.type, numbering))
        shape = CallShape(
            structure=trees.unflatten(arguments, range(len(leaves))),
            leaves=tuple(described),
            ranges=tuple(self.contracts.plan.range_of(dim) for dim in numbering),
            dim_names=tuple(dim.name for dim in numbering),
        )
        return shape, values

    def _canonical(self, value_type: ValueType, numbering: dict[DimVar, DimVar]) -> ValueType:
        if isinstance(value_type, AbstractScalar):
            return value_type
        dims = []
        for dim in value_type.shape:
            resolved = self.contracts.plan.resolve(dim)
            if isinstance(resolved, DimVar):
                resolved = numbering.setdefault(resolved, DimVar(len(numbering), resolved.name))
            dims.append(resolved)
        return TensorType(value_type.dtype, tuple(dims))

    def _append_call(
        self, captured: Captured, values: Sequence[int], proxies: Sequence[Proxy], name: str
    ) -> Any:
        """Append the call and make stand-ins for its results, their dims in this procedure."""
        known_dims = self._argument_dims(captured, proxies)
        results: list[Proxy] = []
        for result_type in captured.function.results:
            results.append(self._result(result_type, known_dims, name))
        ids = tuple(result.value for result in results)
        self.steps.append(Call(ids, captured.function.symbol, tuple(values)))
        for argument, index in captured.mutated:
            self._rebind(proxies, argument, results[index].value, name)
        return trees.map_leaves(lambda leaf: _result_leaf(leaf, results), captured.structure)

    def _rebind(self, proxies: Sequence[Proxy], argument: int, value: int, name: str) -> None:
        """Have a stand-in that a function changed in place hold the new value, and its global too."""
        proxy = proxies[argument]
        for other in (*proxies[:argument], *proxies[argument + 1 :]):
            if other is proxy or (other._symbol is not None and other._symbol == proxy._symbol):
                raise TracingError(
                    f"{name} changes {proxy._name} in place, and is given it twice",
                    where=self.where,
                    location=self.user_location(),
                    got=f"{proxy._name} as two arguments of {name}",
                    expected="a tensor that is changed in place as one argument",
                    fix="write out of place in the jittable, and return the new tensor",
                )
        is_state = self._is_current(proxy)
        proxy.value = value
        if is_state:
            self.set_global(proxy._symbol, proxy._name, proxy)

    def _is_current(self, proxy: Proxy) -> bool:
        """Say whether a stand-in is what its global holds by now."""
        for step in reversed(self.steps):
            match step:
                case Store(symbol, value) if symbol == proxy._symbol:
                    return value == proxy.value
                case Load(result, _) if result == proxy.value:
                    return True
                case _:
                    pass
        return False

    def _argument_dims(
        self, captured: Captured, proxies: Sequence[Proxy]
    ) -> dict[DimVar, int | DimVar]:
        pairs = [
            pair
            for declared, proxy in zip(captured.function.parameters, proxies, strict=True)
            if isinstance(declared, TensorType) and isinstance(proxy, TensorProxy)
            for pair in zip(declared.shape, proxy.type.shape, strict=True)
        ]
        dims: dict[DimVar, int | DimVar] = {}
        for inner, outer in pairs:
            if isinstance(inner, DimVar):
                dims.setdefault(inner, outer)
        return dims

    def _result(self, result_type: ValueType, dims: dict[DimVar, int | DimVar], name: str) -> Proxy:
        if isinstance(result_type, AbstractScalar):
            return ScalarProxy(self, self.new_value(result_type), result_type, f"{name}(...)")
        label = f"{name}(...)"
        shape: list[int | DimVar] = []
        for axis, dim in enumerate(result_type.shape):
            if isinstance(dim, DimVar) and dim not in dims:
                dims[dim] = self.contracts.plan.new(f"{label}.dynamic_dim({axis})")
            shape.append(dims[dim] if isinstance(dim, DimVar) else dim)
        value_type = TensorType(result_type.dtype, tuple(shape))
        value = self.new_value(value_type)
        self.contracts.locate(value, label, value_type.shape)
        return TensorProxy(self, value, value_type, label)


def _result_leaf(leaf: Any, results: Sequence[Proxy]) -> Any:
    match leaf:
        case ResultIndex(index):
            return results[index]
        case ConstantOutput(value):
            return value
        case _:
            return leaf
