# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What users say in `torch.compile(..., backend="turbine_cpu", options={...})`."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from shark_turbine import compiler
from shark_turbine.errors import DeclarationError

FALLBACKS = ("eager", "error")
DEVICES = ("local-task", "local-sync")


@dataclass(frozen=True, slots=True)
class Options:
    """The options of the backend.

    Attributes:
        fallback: what happens to operators that cannot be compiled: `"eager"` runs them in eager
            PyTorch between the compiled parts, `"error"` refuses the program and lists them all.
        freeze: without autograd, let the compiled program keep packed copies of the parameters and
            buffers. A parameter that changed is packed again before the next call.
        threads: worker threads of a call: None is every core for large graphs and the calling thread
            for small ones; 1 is the calling thread.
        cache: keep compiled graphs on disk, and take them from there.
        recipe: how to compile: a name that `ExportOutput.compile(recipe=...)` takes, or a
            `compiler.Recipe`.
        flags: more options of `iree-compile`; they replace the same options of ours.
    """

    fallback: str = "eager"
    freeze: bool = False
    threads: int | None = None
    cache: bool = True
    recipe: str | compiler.Recipe = "auto"
    flags: tuple[str, ...] = ()

    @classmethod
    def parse(cls, given: Mapping[str, Any] | None) -> Options:
        """Return checked options.

        Args:
            given: what `torch.compile(options=...)` was told; None is nothing.

        Raises:
            DeclarationError: there is no such option, or it has no such value.
        """
        values = dict(given or {})
        known = [field.name for field in fields(cls)]
        for name in values:
            if name not in known:
                close = difflib.get_close_matches(str(name), known, n=1)
                raise _error(
                    f"there is no option {name!r}",
                    got=f"options={{{name!r}: ...}}",
                    expected=", ".join(known),
                    fix=f"did you mean {close[0]!r}?" if close else None,
                )
        if isinstance(values.get("flags"), list):
            values["flags"] = tuple(values["flags"])
        options = cls(**values)
        options._check()
        return options

    def _check(self) -> None:
        threads = self.threads
        accepted = {
            "fallback": (self.fallback in FALLBACKS, "'eager' or 'error'"),
            "freeze": (isinstance(self.freeze, bool), "True or False"),
            "threads": (
                threads is None or (type(threads) is int and threads >= 1),
                "a number of threads from 1 up, or None",
            ),
            "cache": (isinstance(self.cache, bool), "True or False"),
            "recipe": (
                isinstance(self.recipe, compiler.Recipe) or self.recipe in compiler.RECIPES,
                f"one of {', '.join(compiler.RECIPES)}, or a compiler.Recipe",
            ),
            "flags": (
                isinstance(self.flags, tuple) and all(isinstance(item, str) for item in self.flags),
                "a list of options of iree-compile",
            ),
        }
        for name, (is_accepted, expected) in accepted.items():
            if not is_accepted:
                raise _error(
                    f"the option {name!r} has no such value",
                    got=f"options={{{name!r}: {getattr(self, name)!r}}}",
                    expected=expected,
                )


def _error(what: str, **parts: Any) -> DeclarationError:
    return DeclarationError(what, where="backend turbine_cpu", **parts)
