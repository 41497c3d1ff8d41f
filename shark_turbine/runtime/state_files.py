# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The state of a module in a safetensors file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch

from .. import dtypes
from ..checkpoints import load_stored, open_checkpoint, write_safetensors
from ..errors import StateError
from ..files import new_file


def write_state(path: str | os.PathLike[str], state: Mapping[str, torch.Tensor], name: str) -> None:
    """Write a state to a file, whole or not at all.

    Raises:
        StateError: safetensors files have no such dtype.
        SaveError: the file cannot be written; what was there before is untouched.
    """
    refused = [
        key for key, value in state.items() if not dtypes.from_torch(value.dtype).safetensors
    ]
    if refused:
        raise StateError(
            "the state holds a dtype that safetensors files do not know",
            where=f"{name}.save_state",
            got=", ".join(f"{key!r}: {state[key].dtype}" for key in refused),
            expected="any other dtype",
            fix="torch.save(module.state_dict(), path), and load_state_dict(torch.load(path))",
        )
    with new_file(Path(path)) as (file, publish):
        write_safetensors(file, state, {"module": name})
        publish()


def read_state(path: str | os.PathLike[str]) -> dict[str, torch.Tensor]:
    """Read the tensors of a file.

    Raises:
        ParameterError: the file is missing, damaged, or no file of tensors.
    """
    stored = open_checkpoint(path).tensors
    return {key: load_stored(tensor) for key, tensor in stored.items()}
