# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What an optimizer does to one parameter, in operations on tensors.

The formulas are those of torch.optim, which takes them from: SGD with momentum, Sutskever et al.,
"On the importance of initialization and momentum in deep learning"; Adam, arXiv 1412.6980; AMSGrad,
OpenReview ryQu7f-RZ; AdamW, arXiv 1711.05101.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

Moments = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class SGD:
    """Stochastic gradient descent, with momentum where it is not zero."""

    momentum: float
    dampening: float
    weight_decay: float
    nesterov: bool
    maximize: bool

    @property
    def moments(self) -> tuple[str, ...]:
        """Names of the tensors that are kept for each parameter."""
        return ("momentum_buffer",) if self.momentum else ()

    @property
    def counts_steps(self) -> bool:
        """Whether the first step differs from the others: it is not dampened."""
        return bool(self.momentum and self.dampening)

    def step(
        self,
        parameter: Tensor,
        gradient: Tensor,
        moments: Mapping[str, Tensor],
        rate: Tensor,
        count: Tensor | None,
    ) -> tuple[Tensor, Moments]:
        """Return the new parameter and moments.

        Args:
            parameter: of any shape; gradient and moments have the same.
            rate: the learning rate, without dims.
            count: the number of this step, from 1, without dims; None: no step is the first.
        """
        gradient = _directed(gradient, parameter, self.maximize, self.weight_decay)
        if not self.momentum:
            return parameter - rate * gradient, {}
        old = moments["momentum_buffer"]
        momentum = old * self.momentum + gradient * (1 - self.dampening)
        if count is not None and self.counts_steps:
            momentum = torch.where(count == 1, gradient, momentum)
        change = gradient + momentum * self.momentum if self.nesterov else momentum
        return parameter - rate * change, {"momentum_buffer": momentum}


@dataclass(frozen=True, slots=True)
class Adam:
    """Adam; with `is_decoupled` the weight decay is AdamW's."""

    beta1: float
    beta2: float
    eps: float
    weight_decay: float
    amsgrad: bool
    maximize: bool
    is_decoupled: bool

    @property
    def moments(self) -> tuple[str, ...]:
        """Names of the tensors that are kept for each parameter."""
        return ("exp_avg", "exp_avg_sq", *(("max_exp_avg_sq",) if self.amsgrad else ()))

    @property
    def counts_steps(self) -> bool:
        """Whether a step depends on its number."""
        return True

    def step(
        self,
        parameter: Tensor,
        gradient: Tensor,
        moments: Mapping[str, Tensor],
        rate: Tensor,
        count: Tensor | None,
    ) -> tuple[Tensor, Moments]:
        """Return the new parameter and moments; see `SGD.step`. `count` is needed."""
        assert count is not None
        if self.is_decoupled:
            gradient = -gradient if self.maximize else gradient
            parameter = parameter * (1 - rate * self.weight_decay)
        else:
            gradient = _directed(gradient, parameter, self.maximize, self.weight_decay)
        mean = torch.lerp(moments["exp_avg"], gradient, 1 - self.beta1)
        square = moments["exp_avg_sq"] * self.beta2 + gradient * gradient * (1 - self.beta2)
        new = {"exp_avg": mean, "exp_avg_sq": square}
        if self.amsgrad:
            square = new["max_exp_avg_sq"] = torch.maximum(moments["max_exp_avg_sq"], square)
        spread = square.sqrt() / _correction(self.beta2, count).sqrt() + self.eps
        return parameter - rate / _correction(self.beta1, count) * (mean / spread), new


Rule = SGD | Adam


def _directed(gradient: Tensor, parameter: Tensor, maximize: bool, weight_decay: float) -> Tensor:
    """Return the direction to go against: uphill or downhill, with the pull of the L2 penalty."""
    gradient = -gradient if maximize else gradient
    return gradient + parameter * weight_decay if weight_decay else gradient


def _correction(beta: float, count: Tensor) -> Tensor:
    """Return `1 - beta ** count` without the digits that f32 loses where beta is close to 1."""
    if beta == 0:
        return torch.ones_like(count)
    return -torch.expm1(count * math.log(beta))
