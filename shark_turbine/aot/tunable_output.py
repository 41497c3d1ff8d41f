# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`ExportOutput.tune`: the part of an exported program that searches for its fastest recipe."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .. import compiler, tuning
from ..errors import DeclarationError
from ..tuning import Parameters, TuningOptions
from .compiled_module import CompiledModule
from .tuned import Tunable


class TunableOutput:
    """An exported program that knows what it was exported from.

    Args:
        compiled_module: the program.
        eager: the nn.Module or function that it was exported from, if PyTorch can run it.
    """

    def __init__(
        self, compiled_module: CompiledModule, eager: Callable[..., Any] | None = None
    ) -> None:
        self.compiled_module = compiled_module
        self._eager = eager

    def _described(
        self, options: dict[str, Any], *, with_hashes: bool
    ) -> tuple[Any, dict[str, Any]]:
        """Return the module that is compiled, and options with what its manifest says."""
        raise NotImplementedError

    def tune(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        *,
        function: str | None = None,
        budget: float | None = 600.0,
        candidates: Sequence[compiler.Recipe] | None = None,
        parameters: Parameters = None,
        executor: Any = None,
        tolerance: float | None = None,
        margin: float = 0.03,
        trial_timeout: float = 300.0,
        measure: float = 1.0,
        fresh: bool = False,
        progress: bool = True,
        target: str | None = None,
        recipe: str | compiler.Recipe = "auto",
        flags: Sequence[str] = (),
        strip_contracts: bool = False,
    ) -> tuning.TuningResult:
        """Search for the recipe that makes the program fastest on this machine, by measuring.

        Each candidate is compiled, compared with eager PyTorch and measured in a child process, in
        turns with the baseline. What is finished is remembered on disk at once: Ctrl-C, or the end
        of the budget, gives what is known by then, and the next call goes on from there.

        Args:
            args: arguments of the call that is measured; None are those of the export.
            kwargs: its keyword arguments.
            function: which function is called; None is the only one, or without arguments all.
            budget: seconds for trials; None is as long as it takes. Comparing the best once more
                comes on top.
            candidates: recipes to try, instead of those that suit the program.
            parameters: files with external parameters (a path, a list of paths, or a dict from
                scopes to these), where they are not those of the export.
            executor: a `concurrent.futures.Executor`, or what has a `submit` like it, whose workers
                run the trials; what is measured on different CPUs is not compared.
            tolerance: the largest error of a result, relative to its largest element; None is by
                dtype: 1e-3 for f32.
            margin: the share of the baseline's time that a winner must save.
            trial_timeout: seconds until a trial is killed.
            measure: seconds of measuring in each trial.
            fresh: forget what was measured before.
            progress: show a table on a terminal, or lines where there is none, on stderr.
            target, recipe, flags, strip_contracts: as for `compile`; the recipe is the baseline.

        Returns:
            A `TuningResult`: printed it is a table; `compile(recipe=result.recipe)` uses the winner,
            and so does `compile(tune=True)` from now on.

        Raises:
            ArgumentError: the arguments are not what the program was exported for.
            DeclarationError: an option has no meaning, or there is no such function.
            TuningError: the program does not run here, or gives other results than eager PyTorch.
        """
        options: dict[str, Any] = {
            "target": target,
            "recipe": recipe,
            "flags": flags,
            "strip_contracts": strip_contracts,
        }
        given = TuningOptions(
            args=args,
            kwargs=kwargs,
            function=function,
            budget=budget,
            candidates=candidates,
            parameters=parameters,
            executor=executor,
            tolerance=tolerance,
            margin=margin,
            trial_timeout=trial_timeout,
            measure=measure,
            fresh=fresh,
            progress=progress,
        )
        return self._tunable(*self._described(options, with_hashes=False)).tune(given)

    def _tunable(self, module: Any, options: Mapping[str, Any]) -> Tunable:
        program = CompiledModule.get_program(self.compiled_module)
        spec = CompiledModule.get_spec(self.compiled_module)
        return Tunable(module, options, program, spec, self._eager)

    def _tuned(self, module: Any, options: Mapping[str, Any], tune: bool | float) -> dict[str, Any]:
        """Return the options of the remembered winner, or tune; Ctrl-C ends the compilation too."""
        tunable = self._tunable(module, options)
        if isinstance(tune, bool):
            budget = TuningOptions().budget
        elif isinstance(tune, (int, float)) and tune > 0:
            budget = tune
        else:
            raise DeclarationError(
                "tune= says whether, or for how many seconds, to look for the fastest recipe",
                where=tunable.where,
                got=f"tune={tune!r}",
                expected="True, False, or a positive number of seconds",
                fix="tune=True",
            )
        recipe = tunable.remembered()
        if recipe is not None:
            return tunable.compile_options(recipe)
        result = tunable.tune(TuningOptions(budget=budget, progress=sys.stderr.isatty()))
        if result.is_interrupted:
            raise KeyboardInterrupt
        return tunable.compile_options(result.recipe)
