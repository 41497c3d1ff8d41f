# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The loss of a model and its gradients as one graph, with the buffers that the forward pass writes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.export.graph_signature import ConstantArgument, InputKind, OutputKind

from shark_turbine.errors import DeclarationError, TracingError

from ..spec import tensor_identity
from ..trace.export_errors import CallDescription, explain_export_failure
from ..trace.programs import state_tensor
from ..trace.torch_export import export_module
from .arguments import Arguments
from .joint import Joint, trace_joint
from .random_numbers import refuse_random_numbers

_STATE_KINDS = (InputKind.PARAMETER, InputKind.BUFFER)


@dataclass(frozen=True, slots=True)
class StateInput:
    """An argument of the graph that is a parameter or a buffer, by its qualified name."""

    name: str


@dataclass(frozen=True, slots=True)
class GivenInput:
    """An argument of the graph that is one of the training step, by its number among the leaves."""

    index: int


@dataclass(frozen=True, slots=True)
class FixedInput:
    """An argument of the graph that never changes."""

    value: Any


@dataclass(frozen=True, slots=True)
class LossAndGradients:
    """A graph that returns the loss, gradients and buffers.

    `tensors` are the parameters and buffers that it reads, by qualified name; `inputs` says what each
    argument is.
    """

    joint: Joint
    tensors: Mapping[str, torch.Tensor]
    inputs: tuple[StateInput | GivenInput | FixedInput, ...]

    def run(
        self, state: Mapping[str, torch.Tensor], given: list[Any]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """Return the loss, gradients by parameter, and new buffers by name."""
        arguments = [_value(source, state, given) for source in self.inputs]
        loss, of_arguments, written = self.joint.run(arguments)
        gradients: dict[str, torch.Tensor] = {}
        for index, value in of_arguments.items():
            name = self._name(index)
            # A tied weight that is an argument twice: the parts of its gradient add up.
            gradients[name] = gradients[name] + value if name in gradients else value
        return loss, gradients, {self._name(index): value for index, value in written.items()}

    @property
    def with_gradient(self) -> set[str]:
        """Names of the parameters that the loss depends on."""
        return {self._name(index) for index in self.joint.trained}

    @property
    def written(self) -> set[str]:
        """Names of the buffers that the forward pass writes."""
        return {self._name(index) for index in self.joint.written}

    def _name(self, index: int) -> str:
        source = self.inputs[index]
        assert isinstance(source, StateInput)
        return source.name


def loss_and_gradients(
    model: torch.nn.Module,
    loss: Callable[..., Any],
    arguments: Arguments,
    names: Mapping[object, str],
    label: str,
) -> LossAndGradients:
    """Trace the loss of a model, in the mode that the model is in, and its gradients.

    Args:
        names: qualified names of parameters and buffers by their identity.
        label: what errors call the model.

    Raises:
        DeclarationError: the loss is no scalar, depends on no parameter, or draws random numbers.
        TracingError: torch cannot trace the model, the loss, or their gradients.
    """
    whole = _ModelAndLoss(model, loss, arguments)
    program, _ = export_module(
        whole,
        arguments.step_arguments,
        arguments.keywords,
        dynamic_shapes=arguments.step_shapes,
        strict=False,
        label=label,
    )
    _check_loss(program, label)
    refuse_random_numbers(program, label)
    try:
        joint = trace_joint(program)
    except Exception as failure:
        description = CallDescription(label, "loss.backward()", None)
        raise explain_export_failure(failure, description) from failure
    if joint is None:
        raise DeclarationError(
            "the loss depends on no parameter that can be trained",
            where=label,
            got="a loss without a gradient",
            expected="a parameter with requires_grad=True between the inputs and the loss",
            fix="model.requires_grad_(True), and no detach() or no_grad() on the way to the loss",
        )
    return _described(program, joint, names, label)


class _ModelAndLoss(torch.nn.Module):
    """A model with its loss: takes the arguments of a training step, returns the loss."""

    def __init__(
        self, model: torch.nn.Module, loss: Callable[..., Any], arguments: Arguments
    ) -> None:
        super().__init__()
        self.training = model.training
        self.model = model
        self.loss = loss
        count = len(arguments.inputs)

        @functools.wraps(model.forward)
        def call(*args: Any, **kwargs: Any) -> Any:
            return loss(model(*args[:count], **kwargs), *args[count:])

        call.__signature__ = arguments.step_signature  # type: ignore[attr-defined]
        self.forward = call


def _check_loss(program: torch.export.ExportedProgram, label: str) -> None:
    outputs = [spec for spec in program.graph_signature.output_specs if spec.kind is _USER_OUTPUT]
    nodes = {node.name: node for node in program.graph.nodes}
    values = [
        nodes[spec.arg.name].meta["val"] if spec.arg.name in nodes else None for spec in outputs
    ]
    loss = values[0] if len(values) == 1 else None
    if not isinstance(loss, torch.Tensor) or loss.ndim or not loss.dtype.is_floating_point:
        raise DeclarationError(
            "the loss is not one number",
            where=label,
            got=", ".join(_shown(value) for value in values) or "nothing",
            expected="a tensor without dims, of a floating-point dtype",
            fix="loss=lambda output, target: criterion(output, target).mean()",
        )


_USER_OUTPUT = OutputKind.USER_OUTPUT


def _shown(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"a tensor of shape {list(value.shape)}, {value.dtype}"
    return f"a {type(value).__name__}"


def _described(
    program: torch.export.ExportedProgram, joint: Joint, names: Mapping[object, str], label: str
) -> LossAndGradients:
    """Describe the arguments and results of a graph in the names of the model."""
    name_of: dict[str, str] = {}
    tensors: dict[str, torch.Tensor] = {}
    specs = program.graph_signature.input_specs
    for spec in specs:
        if spec.kind in _STATE_KINDS:
            tensor = state_tensor(program, str(spec.target)).detach()
            name = names.get(tensor_identity(tensor), str(spec.target).removeprefix("model."))
            name_of[str(spec.target)], tensors[name] = name, tensor
    for index in joint.written:
        if specs[index].kind is not InputKind.BUFFER:
            raise _unsupported("USER_INPUT_MUTATION", label)
    return LossAndGradients(joint, tensors, tuple(_inputs(program, name_of, label)))


def _inputs(
    program: torch.export.ExportedProgram, name_of: Mapping[str, str], label: str
) -> Iterator[StateInput | GivenInput | FixedInput]:
    given = 0
    for spec in program.graph_signature.input_specs:
        if spec.kind in _STATE_KINDS:
            yield StateInput(name_of[str(spec.target)])
        elif spec.kind is InputKind.CONSTANT_TENSOR:
            yield FixedInput(program.constants[str(spec.target)])
        elif spec.kind is InputKind.USER_INPUT:
            argument = spec.arg
            if isinstance(argument, ConstantArgument):
                yield FixedInput(argument.value)
            else:
                yield GivenInput(given)
            given += 1
        else:
            raise _unsupported(spec.kind.name, label)


def _unsupported(kind: str, label: str) -> TracingError:
    is_written = kind == "USER_INPUT_MUTATION"
    return TracingError(
        "the model or the loss writes to an argument of the training step"
        if is_written
        else "the training step needs what a compiled function cannot hold",
        where=label,
        got="an operation in place, such as x.mul_(2)" if is_written else f"a value of kind {kind}",
        expected="parameters, buffers, tensors and numbers; arguments that are only read",
        fix="write out of place: x = x * 2"
        if is_written
        else "compute it outside, and pass it as an argument",
    )


def _value(
    source: StateInput | GivenInput | FixedInput, state: Mapping[str, Any], given: list[Any]
) -> Any:
    match source:
        case StateInput(name):
            return state[name]
        case GivenInput(index):
            return given[index]
        case FixedInput(value):
            return value
