# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The loss of a model and its gradients as one graph, with the buffers that the forward pass writes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch._guards import detect_fake_mode
from torch.export.exported_program import (
    _decompose_exported_program,  # Its public callers cannot ask for gradients.
)
from torch.export.graph_signature import ConstantArgument, InputKind, OutputKind
from torch.nn.attention import SDPBackend, sdpa_kernel

from shark_turbine.errors import DeclarationError, TracingError

from ..spec import tensor_identity
from ..trace.export_errors import CallDescription, explain_export_failure
from ..trace.programs import state_tensor
from ..trace.quiet import quiet_torch
from ..trace.torch_export import export_module
from .arguments import Arguments
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
    """A graph that returns buffers, the loss and gradients.

    `tensors` are the parameters and buffers that it reads, by qualified name; `inputs` says what each
    argument is, and `outputs` what each result is: the kind, and the qualified name that it is for.
    """

    graph_module: torch.fx.GraphModule
    tensors: Mapping[str, torch.Tensor]
    inputs: tuple[StateInput | GivenInput | FixedInput, ...]
    outputs: tuple[tuple[OutputKind, str], ...]

    def run(
        self, state: Mapping[str, torch.Tensor], given: list[Any]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """Return the loss, gradients by parameter, and new buffers by name."""
        arguments = [_value(source, state, given) for source in self.inputs]
        gradients: dict[str, torch.Tensor] = {}
        buffers: dict[str, torch.Tensor] = {}
        loss: list[torch.Tensor] = []
        for (kind, name), value in zip(self.outputs, self.graph_module(*arguments), strict=True):
            if kind is OutputKind.LOSS_OUTPUT:
                loss.append(value)
            elif kind is OutputKind.BUFFER_MUTATION:
                buffers[name] = value
            else:
                # A tied weight that is an argument twice: the parts of its gradient add up.
                gradients[name] = gradients[name] + value if name in gradients else value
        return loss[0], gradients, buffers

    @property
    def with_gradient(self) -> set[str]:
        """Names of the parameters that the loss depends on."""
        kind = OutputKind.GRADIENT_TO_PARAMETER
        return {name for output, name in self.outputs if output is kind}

    @property
    def written(self) -> set[str]:
        """Names of the buffers that the forward pass writes."""
        return {name for kind, name in self.outputs if kind is OutputKind.BUFFER_MUTATION}


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
        _detach_what_has_no_gradient(program, label)
        # Products and a softmax: their gradients compile, those of the fused kernels do not.
        with quiet_torch(), sdpa_kernel(SDPBackend.MATH):
            joint = _decompose_exported_program(
                program,
                cia_to_decomp={},
                python_decomp_table={},
                joint_loss_index=0,
                decompose_custom_triton_ops=False,
            )
    except Exception as failure:
        description = CallDescription(label, f"the gradient of {label}", None)
        raise explain_export_failure(failure, description) from failure
    return _described(joint, names, label)


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


def _detach_what_has_no_gradient(program: torch.export.ExportedProgram, label: str) -> None:
    """Mark the parameters of a program that its loss does not depend on: torch refuses them.

    As in eager PyTorch they get no gradient, and the optimizer leaves them alone.
    """
    nodes = [node for node in program.graph.nodes if node.op == "placeholder"]
    values = [node.meta["val"] for node in nodes]
    tensors = [value for value in values if isinstance(value, torch.Tensor)]
    trained = [value for value in tensors if value.requires_grad]
    mode = detect_fake_mode(tensors)
    with quiet_torch(), mode or nullcontext(), sdpa_kernel(SDPBackend.MATH), torch.enable_grad():
        (loss,) = program.graph_module(*values)
        gradients = (
            torch.autograd.grad(loss, trained, allow_unused=True)
            if trained and loss.requires_grad
            else [None for _ in trained]
        )
    if all(gradient is None for gradient in gradients):
        raise DeclarationError(
            "the loss depends on no parameter that can be trained",
            where=label,
            got="a loss without a gradient",
            expected="a parameter with requires_grad=True between the inputs and the loss",
            fix="model.requires_grad_(True), and no detach() or no_grad() on the way to the loss",
        )
    for value, gradient in zip(trained, gradients, strict=True):
        value.requires_grad_(gradient is not None)


_USER_OUTPUT = OutputKind.USER_OUTPUT


def _shown(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"a tensor of shape {list(value.shape)}, {value.dtype}"
    return f"a {type(value).__name__}"


def _described(
    joint: torch.export.ExportedProgram, names: Mapping[object, str], label: str
) -> LossAndGradients:
    """Describe the arguments and results of a graph that torch made."""
    name_of: dict[str, str] = {}
    tensors: dict[str, torch.Tensor] = {}
    for spec in joint.graph_signature.input_specs:
        if spec.kind in _STATE_KINDS:
            tensor = state_tensor(joint, str(spec.target)).detach()
            name = names.get(tensor_identity(tensor), str(spec.target).removeprefix("model."))
            name_of[str(spec.target)], tensors[name] = name, tensor
    inputs = tuple(_inputs(joint, name_of, label))
    outputs = tuple(
        (spec.kind, name_of.get(str(spec.target), ""))
        for spec in joint.graph_signature.output_specs
    )
    for kind, _ in outputs:
        if kind not in _OUTPUT_KINDS:
            raise _unsupported(kind.name, label)
    return LossAndGradients(joint.graph_module, tensors, inputs, outputs)


_OUTPUT_KINDS = (
    OutputKind.LOSS_OUTPUT,
    OutputKind.BUFFER_MUTATION,
    OutputKind.GRADIENT_TO_PARAMETER,
)


def _inputs(
    joint: torch.export.ExportedProgram, name_of: Mapping[str, str], label: str
) -> Iterator[StateInput | GivenInput | FixedInput]:
    given = 0
    for spec in joint.graph_signature.input_specs:
        if spec.kind in _STATE_KINDS:
            yield StateInput(name_of[str(spec.target)])
        elif spec.kind is InputKind.CONSTANT_TENSOR:
            yield FixedInput(joint.constants[str(spec.target)])
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
