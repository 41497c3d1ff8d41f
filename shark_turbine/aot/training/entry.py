# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`aot.export_training` and `aot.training_module`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from shark_turbine.errors import DeclarationError, SourceLocation

from ..compiled_module import CompiledModule, CompiledModuleMeta
from ..exporter import ExportOutput
from ..iree_operations import IREE
from ..spec import (
    GlobalSpec,
    GlobalTree,
    Inline,
    Member,
    ModuleSpec,
    ParameterSpec,
    ProcedureSpec,
    ProgramSpec,
    Zero,
    tensor_identity,
)
from ..trace.torch_export import export_module
from ..types import AbstractF32, AbstractTensor
from .arguments import collect_arguments
from .gradients import loss_and_gradients
from .optimizers import read_optimizer
from .step import TrainingState, TrainStep

_WHERE = "aot.export_training"


def export_training(
    model: torch.nn.Module,
    loss: Callable[..., Any],
    optimizer: torch.optim.Optimizer,
    *,
    args: Sequence[Any],
    targets: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    dynamic_shapes: Any = None,
    module_name: str = "module",
) -> ExportOutput:
    """Export a model with its training: forward pass, backward pass and optimizer in one function.

    The compiled module has

    - `train_step(*args, *targets)`: one step, as `loss.backward(); optimizer.step()` makes it from
      fresh gradients; returns the loss before the step;
    - `predict(*args)`: the model in evaluation mode, with what it has learned so far;
    - `set_learning_rate(lr)`: a number for each parameter group.

    Parameters, buffers that the model writes, moments, the step count and learning rates are mutable
    globals: `state_dict()`, `load_state_dict()`, `reset()` and `fork()` of the loaded module see them.
    Parameters and buffers are called as in `model.state_dict()`, what the optimizer keeps
    `optimizer.step`, `optimizer.state.<parameter>.<moment>`, `optimizer.param_groups.<n>.lr`.

    Nothing of the model and the optimizer changes. What the optimizer has done so far is taken over.
    Parameters with `requires_grad=False`, and those that the optimizer does not hold, stay as they are;
    a tied weight is one global, under its first name.

    Args:
        model: in training mode; submodules that are in evaluation mode are trained in it, as in eager
            PyTorch.
        loss: called as `loss(model(*args), *targets)`; returns one number. A function or nn.Module.
        optimizer: a `torch.optim.SGD`, `Adam` or `AdamW`.
        args: example arguments of the model.
        targets: example arguments of the loss, after the model's output.
        kwargs: example keyword arguments of the model.
        dynamic_shapes: which dims of `train_step`'s arguments are dynamic, as `torch.export.export`
            takes it: by name, or in their order.
        module_name: the MLIR module's name.

    Raises:
        DeclarationError: the model is in evaluation mode or draws random numbers (dropout), the
            optimizer or an option of it is not supported, the loss is not one number.
        DimensionError: the program needs more of a dynamic dim than `dynamic_shapes` says.
        TracingError: torch cannot trace the model, its loss or their gradients.
    """
    return ExportOutput(
        training_module(
            model,
            loss,
            optimizer,
            args=args,
            targets=targets,
            kwargs=kwargs,
            dynamic_shapes=dynamic_shapes,
            module_name=module_name,
        )()
    )


def training_module(
    model: torch.nn.Module,
    loss: Callable[..., Any],
    optimizer: torch.optim.Optimizer,
    *,
    args: Sequence[Any],
    targets: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    dynamic_shapes: Any = None,
    module_name: str = "module",
) -> type[CompiledModule]:
    """Return what `export_training` exports, as a class to derive from.

    Procedures of a derived class call `self.train_step(...)` and `self.predict(...)`, and read and
    assign `self.state`, a mapping of all state by name: loops over batches inside the compiled program,
    or functions that take and give the state.

    Args and errors are those of `export_training`.
    """
    _check_model(model, loss)
    arguments = collect_arguments(model, loss, args, targets, kwargs, dynamic_shapes)
    names = _names(model, loss)
    label = type(model).__name__
    plan = read_optimizer(optimizer, names)
    gradients = loss_and_gradients(model, loss, arguments, names, label)
    state = TrainingState(gradients, plan)
    _check_trained(state, label)
    step, step_dims = export_module(
        TrainStep(gradients, state, arguments),
        arguments.step_arguments,
        arguments.keywords,
        dynamic_shapes=arguments.step_shapes,
        strict=False,
        label=label,
    )
    with _evaluation_mode(model):
        predict, predict_dims = export_module(
            model,
            tuple(arguments.inputs.values()),
            arguments.keywords,
            dynamic_shapes=arguments.model_shapes,
            strict=False,
            label=label,
        )
    location = SourceLocation.of_user()
    members: dict[str, Member] = {
        "state": _globals("state", state.mutable, mutable=True),
        "frozen": _globals("frozen", state.frozen, mutable=False),
        "train_step": ProgramSpec("train_step", step, True, location, dim_names=step_dims),
        "predict": ProgramSpec("predict", predict, True, location, dim_names=predict_dims),
        "set_learning_rate": _setter_of_rates(state.rates, location),
    }
    spec = ModuleSpec(module_name, "TrainingModule", members, tuple(members), location)
    made: Any = CompiledModuleMeta("TrainingModule", (CompiledModule,), {})
    made._spec = spec
    return made


def _check_model(model: Any, loss: Any) -> None:
    if not isinstance(model, torch.nn.Module):
        is_class = isinstance(model, type)
        raise DeclarationError(
            "only a torch.nn.Module can be trained",
            where=_WHERE,
            got=f"the class {model.__name__}" if is_class else type(model).__name__,
            expected="an instance of torch.nn.Module",
            fix="aot.export_training(model, loss, optimizer, args=(x,), targets=(y,))",
        )
    if not callable(loss) or isinstance(loss, type):
        is_class = isinstance(loss, type)
        raise DeclarationError(
            "the loss is something to call with the model's output and the targets",
            where=_WHERE,
            got=f"the class {loss.__name__}" if is_class else type(loss).__name__,
            expected="a function, or an instance of an nn.Module such as nn.CrossEntropyLoss()",
            fix=f"loss={loss.__name__}()" if is_class else "loss=torch.nn.functional.mse_loss",
        )
    if not model.training:
        raise DeclarationError(
            "the model is in evaluation mode, and would be trained so: BatchNorm with fixed statistics",
            where=_WHERE,
            got=f"{type(model).__name__}.training is False",
            expected="a model in training mode; submodules may be in evaluation mode",
            fix="model.train(), before aot.export_training(model, ...)",
        )


def _check_trained(state: TrainingState, label: str) -> None:
    if state.updates:
        return
    raise DeclarationError(
        "the optimizer would change nothing: the loss depends on none of its parameters",
        where=label,
        got="an optimizer without a parameter that has a gradient",
        expected="at least one parameter with requires_grad=True that the loss depends on",
        fix="make the optimizer of the parameters to train: torch.optim.SGD(model.parameters(), ...)",
    )


def _names(model: torch.nn.Module, loss: Any) -> dict[object, str]:
    """Return the qualified name of each parameter and buffer by its identity; tied ones have the first.

    Those of a loss that is a module are called `loss.<name>`.
    """
    named = [*model.named_parameters(), *model.named_buffers()]
    if isinstance(loss, torch.nn.Module):
        taken = {name.split(".")[0] for name, _ in named}
        root = "loss$1" if "loss" in taken else "loss"
        of_loss = [*loss.named_parameters(), *loss.named_buffers()]
        named += [(f"{root}.{name}", tensor) for name, tensor in of_loss]
    names: dict[object, str] = {}
    for name, tensor in named:
        names.setdefault(tensor_identity(tensor.detach()), name)
    return names


@contextmanager
def _evaluation_mode(model: torch.nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def _globals(attribute: str, tensors: Mapping[str, torch.Tensor], *, mutable: bool) -> GlobalTree:
    return GlobalTree(
        {
            name: GlobalSpec(
                symbol=f"_{name}",
                label=name if name.isidentifier() else f"{attribute}[{name!r}]",
                type=AbstractTensor(*tensor.shape, dtype=tensor.dtype),
                initial=Inline(tensor) if tensor.any() else Zero(),
                mutable=mutable,
                identities=(tensor,),
            )
            for name, tensor in tensors.items()
        }
    )


def _setter_of_rates(rates: Sequence[str], location: SourceLocation | None) -> ProcedureSpec:
    """Make the procedure that sets the learning rate, or one for each parameter group."""
    names = ["lr"] if len(rates) == 1 else [f"lr_{number}" for number in range(len(rates))]

    def set_learning_rate(self: Any, *values: Any) -> None:
        for rate, value in zip(rates, values, strict=True):
            self.state[rate] = IREE.tensor_splat(value=value, dtype=torch.float32)

    return ProcedureSpec(
        name="set_learning_rate",
        function=set_learning_rate,
        parameters=tuple(ParameterSpec(name, AbstractF32) for name in names),
        location=location or SourceLocation.from_function(set_learning_rate.__code__),
    )
