# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A `torch.export.ExportedProgram` as a function of the module, with its state as globals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from typing import Any

import sympy
import torch
from torch.export.graph_signature import ConstantArgument, InputKind

from shark_turbine import dtypes, trees
from shark_turbine.errors import TracingError, UnsupportedTypeError
from shark_turbine.signature import Argument, Constant, FunctionSignature, Leaf, Parameter, Tree

from ..dims import DimVar
from ..program import JitFunction, Procedure
from ..spec import GlobalSpec, Inline, ProgramSpec, tensor_identity
from ..steps import Call, DimOf, ScalarValue
from ..types import AbstractTensor, ValueType
from .capture import Captured
from .captured_state import WRITES_STATE
from .finish import flat_type
from .graph_types import ConstantOutput, Outputs, ResultIndex, SymbolTable, user_inputs
from .sizes import Measured, input_checks

_STATE_KINDS = (InputKind.PARAMETER, InputKind.BUFFER)


def state_globals(
    spec: ProgramSpec,
    program: torch.export.ExportedProgram,
    find: Callable[[torch.Tensor], GlobalSpec | None],
    free_symbol: Callable[[str], str],
    written: Set[object],
) -> Iterator[GlobalSpec]:
    """Yield a global for each parameter and buffer that a program uses and no global holds yet.

    What any program of the module writes is mutable. Names are the qualified names of the nn.Module.
    """
    used = {node.name for node in program.graph.nodes if node.op == "placeholder" and node.users}
    yielded: set[object] = set()
    for entry in program.graph_signature.input_specs:
        if entry.kind not in _STATE_KINDS:
            continue
        target = str(entry.target)
        tensor = state_tensor(program, target)
        identity = tensor_identity(tensor)
        is_needed = entry.arg.name in used or identity in written
        if not is_needed or identity in yielded or find(tensor) is not None:
            continue
        yielded.add(identity)
        _check_state(spec, target, tensor)
        yield GlobalSpec(
            symbol=free_symbol(target if spec.is_public else f"{spec.name}.{target}"),
            label=target,
            type=AbstractTensor(*tensor.shape, dtype=tensor.dtype),
            initial=spec.external.get(target, Inline(tensor)),
            mutable=identity in written,
            identities=(tensor,),
        )


def written_state(program: torch.export.ExportedProgram) -> set[object]:
    """Return the identities of the parameters and buffers that a prepared program writes."""
    return {
        tensor_identity(state_tensor(program, str(output.target)))
        for output in program.graph_signature.output_specs
        if output.kind in WRITES_STATE
    }


def _check_state(spec: ProgramSpec, target: str, tensor: torch.Tensor) -> None:
    """Refuse a parameter or buffer that no global can hold."""
    dtypes.from_torch(tensor.dtype, what=f"{spec.name}: {target}")
    if tensor.layout is not torch.strided:
        raise UnsupportedTypeError(
            f"{spec.name}: {target} is a sparse tensor",
            location=spec.location,
            got=tensor.layout,
            expected="dense (strided) parameters and buffers",
            fix=f"register {target}.to_dense() in its place",
        )


def state_tensor(program: torch.export.ExportedProgram, target: str) -> torch.Tensor:
    """Return the tensor behind a parameter or buffer of a program."""
    state: dict[str, Any] = {**program.constants, **program.state_dict}
    return state[target]


def program_types(
    program: torch.export.ExportedProgram, symbols: SymbolTable
) -> tuple[ValueType, ...]:
    """Return the types of a program's arguments."""
    return tuple(symbols.type_of(value) for value in user_inputs(program))


def result_structure(program: torch.export.ExportedProgram, outputs: Outputs) -> Any:
    """Return the Python structure of a program's result around `ResultIndex`/`ConstantOutput`."""
    supply = iter(outputs.user)
    return trees.values_of_spec(program.call_spec.out_spec, lambda: next(supply))


def export_procedure(spec: ProgramSpec, captured: Captured, where: str) -> Procedure:
    """Make the public procedure that calls a program and checks its inputs.

    Raises:
        TracingError: the program writes to its arguments.
    """
    program, function = captured.function.program, captured.function
    _refuse_mutated_arguments(captured, where, spec)
    count = len(function.parameters)
    results = tuple(range(count, count + len(function.results)))

    def dim_name(dim: DimVar) -> str:
        return spec.dim_names.get(dim.name, str(dim))

    parameters, arguments = _parameters(program, function, dim_name)
    sizes = list(_sizes(program, arguments))
    checks = input_checks(spec.name, sizes, program.range_constraints, spec.dim_names)
    returned: list[int] = []
    result = trees.to_tree(captured.structure, lambda leaf: _returned(leaf, results, returned))
    types = (*function.parameters, *function.results)
    signature = FunctionSignature(
        name=spec.name,
        parameters=parameters,
        arguments=arguments,
        result=_constants_opened(result),
        results=tuple(flat_type(types[value], dim_name) for value in returned),
        contracts=tuple(dict.fromkeys(check.message for check in checks)),
    )
    call = Call(results, function.symbol, tuple(range(count)), function.stores)
    return Procedure(
        symbol=spec.name,
        signature=signature,
        types=types,
        steps=(*checks, call),
        returned=tuple(returned),
        location=spec.location,
    )


def _returned(leaf: Any, results: tuple[int, ...], returned: list[int]) -> int | None:
    if isinstance(leaf, ResultIndex):
        returned.append(results[leaf.index])
        return len(returned) - 1
    return None


def _constants_opened(tree: Tree) -> Tree:
    """Replace the markers of constant outputs by the constants."""
    return trees.map_constants(
        tree, lambda value: value.value if isinstance(value, ConstantOutput) else value
    )


def _argument_names(program: torch.export.ExportedProgram) -> list[str]:
    signature = program.module_call_graph[0].signature
    names = list(signature.forward_arg_names or ()) if signature is not None else []
    positional, keywords = _input_specs(program)
    count = positional.num_children
    kept = [name for name in names if name not in (keywords.context or ())][:count]
    kept += [f"arg{index}" for index in range(len(kept), count)]
    return [*kept, *(keywords.context or ())]


def _input_specs(program: torch.export.ExportedProgram) -> tuple[Any, Any]:
    """Return torch's tree specifications of the positional and of the keyword arguments."""
    spec: Any = program.call_spec.in_spec
    positional, keywords = spec.children()
    return positional, keywords


def _parameters(
    program: torch.export.ExportedProgram,
    function: JitFunction,
    dim_name: Callable[[DimVar], str] = str,
) -> tuple[tuple[Parameter, ...], tuple[Argument, ...]]:
    """Return the Python parameters of a program, and its flat arguments with their paths."""
    specs = iter(
        spec for spec in program.graph_signature.input_specs if spec.kind is InputKind.USER_INPUT
    )
    numbers = iter(range(len(function.parameters)))

    def leaf() -> Tree:
        spec = next(specs)
        if isinstance(spec.arg, ConstantArgument):
            value = spec.arg.value
            plain = value is None or isinstance(value, (bool, int, float, str))
            return Constant(value if plain else str(value))
        return Leaf(next(numbers))

    names = _argument_names(program)
    positional, keywords = _input_specs(program)
    parameters: list[Parameter] = []
    arguments: dict[int, Argument] = {}
    children = [*positional.children(), *keywords.children()]
    for position, (name, child) in enumerate(zip(names, children, strict=True)):
        tree = trees.tree_of_spec(child, leaf)
        parameters.append(Parameter(name, tree, position >= positional.num_children))
        for path, index in trees.leaf_paths(tree):
            value_type = flat_type(function.parameters[index], dim_name)
            arguments[index] = Argument(name + path, value_type)
    return tuple(parameters), tuple(arguments[index] for index in sorted(arguments))


def _sizes(
    program: torch.export.ExportedProgram, arguments: tuple[Argument, ...]
) -> Iterator[Measured]:
    """Yield every symbolic size of the arguments."""
    for number, (argument, value) in enumerate(zip(arguments, user_inputs(program), strict=True)):
        if isinstance(value, torch.SymInt):
            yield Measured(value.node.expr, ScalarValue(number), argument.name)
        if not isinstance(value, torch.Tensor):
            continue
        for axis, size in enumerate(value.shape):
            if isinstance(size, torch.SymInt) and not sympy.sympify(size.node.expr).is_Integer:
                label = f"{argument.name}.shape[{axis}]"
                yield Measured(size.node.expr, DimOf(number, axis), label)


def _refuse_mutated_arguments(captured: Captured, where: str, spec: ProgramSpec) -> None:
    if not captured.mutated:
        return
    _, arguments = _parameters(captured.function.program, captured.function)
    mutated = ", ".join(arguments[argument].name for argument, _ in captured.mutated)
    raise TracingError(
        f"the program writes to its argument {mutated}; a compiled function cannot change the "
        "tensors of its caller",
        where=where,
        location=spec.location,
        got=f"in-place operations on {mutated}",
        expected="a function that leaves its arguments alone",
        fix=f"work on a copy, {mutated} = {mutated}.clone(), and return it",
    )
