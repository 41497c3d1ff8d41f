# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""From a torch.optim optimizer, with the state that it has by now, to plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from shark_turbine.errors import DeclarationError

from ..spec import tensor_identity
from .updates import SGD, Adam, Rule

_WHERE = "aot.export_training"
_ACCEPTED = "torch.optim.SGD, torch.optim.Adam or torch.optim.AdamW"


@dataclass(frozen=True, slots=True)
class Update:
    """How one parameter is updated.

    `moments` are what the optimizer keeps of it: taken over, or zeros. `steps` is how many steps it has
    made; None where steps are not counted.
    """

    name: str
    parameter: Tensor
    group: int
    rule: Rule
    moments: Mapping[str, Tensor]
    steps: float | None


@dataclass(frozen=True, slots=True)
class Optimizer:
    """An optimizer: its updates, and the learning rate of each of its parameter groups."""

    updates: tuple[Update, ...]
    rates: tuple[float, ...]


def read_optimizer(optimizer: Any, names: Mapping[object, str]) -> Optimizer:
    """Read what an optimizer would do with the trainable parameters that it holds.

    Args:
        optimizer: of one of the accepted classes.
        names: the qualified name of each parameter of the model, by its identity.

    Raises:
        DeclarationError: the optimizer, an option of it or a parameter is nothing that is exported.
    """
    _check_optimizer(optimizer)
    updates: list[Update] = []
    rates: list[float] = []
    for number, group in enumerate(optimizer.param_groups):
        rule = _rule_of(optimizer, number, group)
        rates.append(_number(number, group, "lr"))
        for position, parameter in enumerate(group["params"]):
            name = names.get(tensor_identity(parameter.detach()))
            if name is None:
                raise _foreign(optimizer, number, position, parameter)
            if parameter.requires_grad:
                state = optimizer.state.get(parameter, {})
                updates.append(_update(name, parameter.detach(), number, rule, state))
    return Optimizer(tuple(updates), tuple(rates))


def _check_optimizer(optimizer: Any) -> None:
    if type(optimizer) not in (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW):
        is_class = isinstance(optimizer, type)
        name = optimizer.__name__ if is_class else type(optimizer).__name__
        raise DeclarationError(
            f"{name} is a class; the optimizer is an instance, which knows its parameters"
            if is_class
            else f"training with {name} cannot be exported",
            where=_WHERE,
            got=f"optimizer={name}" + ("" if is_class else "(...)"),
            expected=f"an instance of {_ACCEPTED}, not of a class derived from them",
            fix="optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)",
        )
    for kind in ("pre", "post"):
        if getattr(optimizer, f"_optimizer_step_{kind}_hooks"):
            raise DeclarationError(
                "the optimizer has hooks, which are Python and cannot be exported",
                where=_WHERE,
                got=f"{type(optimizer).__name__} with a step {kind} hook",
                expected="an optimizer without hooks",
                fix="remove the hook: call .remove() of what registering it returned",
            )


def _rule_of(optimizer: Any, number: int, group: Mapping[str, Any]) -> Rule:
    if group.get("differentiable"):
        raise DeclarationError(
            "an optimizer whose steps are differentiated cannot be exported",
            where=_WHERE,
            got=f"param_groups[{number}]['differentiable'] = True",
            expected="differentiable=False",
            fix=f"torch.optim.{type(optimizer).__name__}(..., differentiable=False)",
        )
    decay, maximize = _number(number, group, "weight_decay"), bool(group["maximize"])
    if isinstance(optimizer, torch.optim.SGD):
        momentum = _number(number, group, "momentum")
        dampening = _number(number, group, "dampening")
        return SGD(momentum, dampening, decay, bool(group["nesterov"]), maximize)
    beta1, beta2 = (float(beta) for beta in group["betas"])
    is_decoupled = bool(group.get("decoupled_weight_decay", type(optimizer) is torch.optim.AdamW))
    eps = _number(number, group, "eps")
    return Adam(beta1, beta2, eps, decay, bool(group["amsgrad"]), maximize, is_decoupled)


def _number(number: int, group: Mapping[str, Any], option: str) -> float:
    value = group[option]
    if isinstance(value, Tensor) and value.numel() != 1:
        raise DeclarationError(
            f"the option {option} of the optimizer is a tensor of several numbers",
            where=_WHERE,
            got=f"param_groups[{number}]['{option}'] of shape {list(value.shape)}",
            expected="one number",
            fix=f"a parameter group for each {option}",
        )
    return float(value)


def _update(
    name: str, parameter: Tensor, group: int, rule: Rule, state: Mapping[str, Any]
) -> Update:
    found = {key: state.get(key) for key in rule.moments}
    moments = {
        key: torch.zeros_like(parameter, memory_format=torch.contiguous_format)
        if value is None
        else value.detach().clone(memory_format=torch.contiguous_format)
        for key, value in found.items()
    }
    if not rule.counts_steps:
        return Update(name, parameter, group, rule, moments, None)
    if isinstance(rule, SGD):
        # SGD does not count: what has a buffer has made its first step.
        steps = None if found["momentum_buffer"] is not None else 0.0
    else:
        steps = float(state.get("step", 0))
    return Update(name, parameter, group, rule, moments, steps)


def _foreign(optimizer: Any, number: int, position: int, parameter: Tensor) -> DeclarationError:
    return DeclarationError(
        "the optimizer holds a parameter that is not the model's",
        where=_WHERE,
        got=f"param_groups[{number}]['params'][{position}]: a tensor of shape "
        f"{list(parameter.shape)}",
        expected="parameters of the model, or of the loss where it is a module",
        fix=f"torch.optim.{type(optimizer).__name__}(model.parameters(), ...), "
        "made after the model took its last form",
    )
