# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`shark-turbine run`: what it takes."""

from __future__ import annotations

from pathlib import Path

import click

from shark_turbine.errors import CommandLineError

from . import exits
from .input_spec import parse_input

_SUFFIXES = (".npy", ".npz")


@click.command(short_help="Call a function of a compiled file")
@click.argument("file", metavar="FILE.vmfb", type=click.Path(path_type=Path))
@click.option(
    "--function", metavar="NAME", help="Which function; main, or the only one, if left out."
)
@click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="SPEC",
    help="An argument: 2x16xf32=1.5, 2x2xi64='1 2 3 4', @file.npy, @file.npz:key, or a number. "
    "x:2x16xf32 is for the argument called x. Once for each argument, in order.",
)
@click.option(
    "--output",
    "outputs",
    multiple=True,
    metavar="@FILE",
    help="Write a result to a .npy file instead of printing it, once for each; or all to one .npz.",
)
@click.option(
    "--device", metavar="URI", help="local-task (all cores), local-task?threads=2 or local-sync."
)
@click.option(
    "--parameters",
    multiple=True,
    metavar="[SCOPE=]FILE",
    help="External weights: a .safetensors, .irpa or .gguf file, or the folder of a checkpoint.",
)
@click.option(
    "--repeat", type=click.IntRange(1), metavar="N", help="Call N times, print the median time."
)
@click.option("--json", "as_json", is_flag=True, help="Print results and times as one JSON object.")
def run(
    file: Path,
    function: str | None,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    device: str | None,
    parameters: tuple[str, ...],
    repeat: int | None,
    as_json: bool,
) -> int:
    """Call a function of a compiled file and print its results.

    \b
        shark-turbine run mlp.vmfb --input 4x16xf32=1
    """
    specs = tuple(map(parse_input, inputs))
    targets = tuple(map(_target, outputs))
    if len(targets) > 1 and any(target.suffix == ".npz" for target in targets):
        raise CommandLineError(
            "a .npz file holds all results, and other files are named too",
            got=" ".join(f"--output {text}" for text in outputs),
            expected="one .npz file, or a .npy file for each result",
        )
    # Everything up to here was said without waiting for torch.
    from .running import RunRequest, run_file  # noqa: PLC0415

    run_file(RunRequest(file, function, specs, targets, device, parameters, repeat, as_json))
    return exits.FINE


def _target(text: str) -> Path:
    path = Path(text.removeprefix("@"))
    if path.suffix not in _SUFFIXES:
        raise CommandLineError(
            f"results cannot be written to {path}",
            expected="--output @file.npy, or @file.npz for all of them",
            fix=f"--output @{path.with_suffix('.npy')}" if path.name else None,
        )
    return path
