# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What tensors can carry about how they are exported."""

from __future__ import annotations

from dataclasses import dataclass

import torch

_ATTRIBUTE = "_shark_turbine_external_tensor"


@dataclass(frozen=True, slots=True)
class ExternalTensorTrait:
    """Marks a tensor as a parameter that is not stored in modules: `external_scope::external_name`.

    Tensors that carry it are external wherever they are exported, unless `external=False` says
    otherwise. `externalize_module_parameters` sets it on every parameter of a module.

    Args:
        external_scope: the scope of the parameter, which `runtime.load(parameters=...)` names.
        external_name: its key in the file.
    """

    external_scope: str
    external_name: str

    @staticmethod
    def get(from_tensor: torch.Tensor) -> ExternalTensorTrait | None:
        """Return the trait of a tensor, `from_tensor`; None where it carries none."""
        return getattr(from_tensor, _ATTRIBUTE, None)

    def set(self, to_tensor: torch.Tensor) -> None:
        """Put the trait on a tensor, `to_tensor`: on this Python object, not on copies and views of it."""
        setattr(to_tensor, _ATTRIBUTE, self)
