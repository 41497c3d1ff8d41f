# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The training step as an nn.Module: forward pass, backward pass and update, written to buffers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from shark_turbine import trees

from .arguments import Arguments
from .gradients import LossAndGradients
from .optimizers import Optimizer, Update

ROOT = "optimizer"


class TrainingState:
    """Every tensor of a training step by name: what it changes, and what stays.

    Parameters and buffers are called as in `model.state_dict()`. What the optimizer keeps is called
    `optimizer.step`, `optimizer.state.<parameter>.<moment>` and `optimizer.param_groups.<n>.lr`;
    where the model has a member `optimizer`, these start with `optimizer$1`.
    """

    def __init__(self, gradients: LossAndGradients, optimizer: Optimizer) -> None:
        with_gradient = gradients.with_gradient
        self.updates = [one for one in optimizer.updates if one.name in with_gradient]
        trained = {one.name for one in self.updates}
        changed = trained | gradients.written
        tops = {name.split(".")[0] for name in gradients.tensors}
        self._root = f"{ROOT}$1" if ROOT in tops else ROOT
        self.mutable: dict[str, torch.Tensor] = {
            name: tensor for name, tensor in gradients.tensors.items() if name in changed
        }
        self.frozen: dict[str, torch.Tensor] = {
            name: tensor for name, tensor in gradients.tensors.items() if name not in changed
        }
        counts = [one.steps for one in self.updates if one.steps is not None]
        self._first = min(counts, default=0.0)
        self.count = f"{self._root}.step" if counts else None
        if self.count:
            self.mutable[self.count] = torch.tensor(self._first)
        for update in self.updates:
            for moment, tensor in update.moments.items():
                self.mutable[self.moment(update, moment)] = tensor
        self.rates = [f"{self._root}.param_groups.{n}.lr" for n in range(len(optimizer.rates))]
        self.mutable.update(
            (name, torch.tensor(rate))
            for name, rate in zip(self.rates, optimizer.rates, strict=True)
        )

    def moment(self, update: Update, moment: str) -> str:
        """Return the name of what the optimizer keeps of a parameter."""
        return f"{self._root}.state.{update.name}.{moment}"

    def behind(self, update: Update) -> float | None:
        """Return how many steps more than the least a parameter has made; None: it has no count."""
        return None if update.steps is None else update.steps - self._first


class TrainStep(torch.nn.Module):
    """One training step. Its buffers are the tensors of the state themselves."""

    def __init__(
        self, gradients: LossAndGradients, state: TrainingState, arguments: Arguments
    ) -> None:
        super().__init__()
        self._gradients = (gradients,)  # In a tuple: the graph's own tensors are no state of this.
        self._state = state
        self._buffer_of: dict[str, str] = {}
        for number, (name, tensor) in enumerate((state.mutable | state.frozen).items()):
            self._buffer_of[name] = f"tensor_{number}"
            self.register_buffer(f"tensor_{number}", tensor)

        def call(*args: Any, **kwargs: Any) -> torch.Tensor:
            return self._step(trees.leaves([*args, *kwargs.values()]))

        call.__signature__ = arguments.step_signature  # type: ignore[attr-defined]
        self.forward = call

    def _step(self, given: list[Any]) -> torch.Tensor:
        state = {name: getattr(self, buffer) for name, buffer in self._buffer_of.items()}
        loss, gradients, written = self._gradients[0].run(state, given)
        new = {**written, **self._updated(state, gradients)}
        for name, value in new.items():
            state[name].copy_(value)
        return loss

    def _updated(
        self, state: Mapping[str, torch.Tensor], gradients: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """Return what the optimizer changes, by name."""
        names = self._state
        new: dict[str, torch.Tensor] = {}
        count = None
        if names.count:
            count = new[names.count] = state[names.count] + 1
        for update in names.updates:
            behind = names.behind(update)
            moments = {key: state[names.moment(update, key)] for key in update.moments}
            new[update.name], changed = update.rule.step(
                state[update.name],
                gradients[update.name],
                moments,
                state[names.rates[update.group]],
                None if count is None or behind is None else count + behind,
            )
            new.update((names.moment(update, key), value) for key, value in changed.items())
        return new
