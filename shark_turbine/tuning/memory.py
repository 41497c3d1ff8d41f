# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What was measured, kept on disk: each finished trial at once, and the winners, by program and CPU."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from typing import Any

from shark_turbine.cache_folder import remember, remembered
from shark_turbine.compiler import Recipe

from .result import Trial

_WINNER = "winner"


def candidate_key(recipe: Recipe) -> str:
    """Return what equal candidates have in common: options and device, not the name."""
    text = json.dumps([recipe.flags, recipe.rewrites, recipe.device])
    return hashlib.sha256(text.encode()).hexdigest()[:24]


class Memory:
    """The trials of one program, with one set of options and arguments of certain shapes.

    `key` names them; `program` what is the same for all shapes.
    """

    def __init__(self, key: str, program: str) -> None:
        self._name = f"tuning-{key[:40]}"
        self._program = program
        self._key = key

    def trials(self, cpu: str) -> dict[str, Trial]:
        """Return the remembered trials of a CPU, by candidate."""
        start = f"{cpu}/"
        found = {key: value for key, value in remembered(self._name).items() if key[:1] != "/"}
        return {
            key.removeprefix(start): trial
            for key, value in found.items()
            if key.startswith(start) and (trial := _trial(value)) is not None
        }

    def keep(self, recipe: Recipe, trial: Trial) -> None:
        """Remember a finished trial."""
        remember(self._name, {f"{trial.cpu}/{candidate_key(recipe)}": trial.to_json()})

    def winner(self, cpu: str) -> Trial | None:
        """Return the remembered winner of a CPU."""
        return _trial(remembered(self._name).get(f"/{_WINNER}/{cpu}"))

    def keep_winner(self, trial: Trial) -> None:
        """Remember the winner of a CPU, and that it was the last that was found for the program."""
        remember(self._name, {f"/{_WINNER}/{trial.cpu}": trial.to_json()})
        remember(_of_program(self._program), {trial.cpu: self._key})

    def forget(self) -> None:
        """Forget what was measured, and who won."""
        remember(self._name, dict.fromkeys(remembered(self._name)))


def recall_winner(program: str, key: str | None, cpu: str) -> Trial | None:
    """Return a remembered winner; without a key that of the last tuning of the program."""
    if key is None:
        key = remembered(_of_program(program)).get(cpu)
    return None if not isinstance(key, str) else Memory(key, program).winner(cpu)


def _of_program(program: str) -> str:
    return f"tuned-{program[:40]}"


def _trial(data: Any) -> Trial | None:
    with suppress(KeyError, TypeError, AttributeError):
        return Trial.from_json(data)
    return None
