# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`shark-turbine export`: what it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from shark_turbine.errors import CommandLineError

from . import exits, output
from .input_spec import parse_input
from .steps import shown_steps

_SUFFIXES = (".vmfb", ".mlir", ".mlirbc")


@click.command(short_help="Compile a PyTorch program")
@click.argument("source", metavar="MODULE:ATTR")
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Where to write: a .vmfb, or a .mlir or .mlirbc file that is not compiled.",
)
@click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="SPEC",
    help="The type of an argument, such as 2x16xf32. batch?x16xf32 has a dim of any size, and "
    "mask:2x16xbool is for the argument called mask. Once for each argument, in order.",
)
@click.option(
    "--inputs",
    "inputs_from",
    metavar="MODULE:ATTR",
    help="Example arguments as a Python object, or as a function that returns them: a tuple, a dict of "
    "keyword arguments, or one tensor.",
)
@click.option("--target", metavar="NAME", help="The machine to compile for; `targets` lists them.")
@click.option(
    "--recipe",
    default="auto",
    metavar="NAME",
    help="auto, prepacked, size, debug, portable or none.",
)
@click.option(
    "--flag",
    "flags",
    multiple=True,
    metavar="FLAG",
    help="An option of iree-compile: --flag=--iree-opt-level=O3. May be given more than once.",
)
@click.option(
    "--weights",
    default="inline",
    metavar="WHERE",
    help="inline: in the vmfb; external: in a file beside it; or the path of a checkpoint that has "
    "them.",
)
@click.option(
    "--parameters",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Where --weights=external writes them: .safetensors or .irpa. By default beside the output.",
)
@click.option("--function-name", metavar="NAME", help="The function's name, if not main.")
@click.option("--module-name", metavar="NAME", help="The module's name, if not module.")
@click.option(
    "--training",
    is_flag=True,
    help="Leave the module in its mode; by default it is put into eval().",
)
@click.option(
    "--strict/--no-strict", default=True, help="Trace with TorchDynamo (the default), or without."
)
@click.option(
    "--timeout",
    type=click.FloatRange(0),
    default=3600.0,
    metavar="SECONDS",
    help="When the compiler is stopped: after an hour, if left out; 0 is never.",
)
@click.option(
    "--cache/--no-cache",
    default=True,
    help="Take what was compiled before from the cache, or do not.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what was done as one JSON object.")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
def export(**options: Any) -> int:
    """Compile a PyTorch program to a .vmfb file.

    MODULE:ATTR is an object in a Python module that can be imported from the current folder, or
    path/to/file.py:attr. It is an nn.Module, a class or a function without arguments that makes one, a
    function of tensors, an aot.CompiledModule, an ExportedProgram, or aot.FxPrograms. A file that
    torch.export.save wrote (.pt2) is named by its path alone.

    \b
        shark-turbine export mlp:model --input 'batch?x16xf32' -o mlp.vmfb
    """
    as_json, quiet = options.pop("as_json"), options.pop("quiet")
    told = _checked(options)
    with shown_steps(quiet=quiet) as steps:
        # Everything up to here was said without waiting for torch.
        steps.begin("import")
        from .exporting import ExportRequest, export_file  # noqa: PLC0415

        steps.end("torch, and the compiler")
        done = export_file(ExportRequest(**told), steps)
    if as_json:
        output.print_json(done)
    return exits.FINE


def _checked(options: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of the request.

    Raises:
        CommandLineError: the options contradict each other, or cannot be read.
    """
    path: Path = options["output"]
    if path.suffix not in _SUFFIXES:
        raise CommandLineError(
            f"it is not said what to write to {path}",
            expected=f"a name that ends in {', '.join(_SUFFIXES)}",
            fix=f"-o {path.with_suffix('.vmfb')}" if path.name else None,
        )
    if options["inputs"] and options["inputs_from"]:
        raise CommandLineError(
            "example inputs are given twice", got="--input and --inputs", expected="one of the two"
        )
    unused = [name for name in ("target", "flags") if options[name]]
    if unused and path.suffix != ".vmfb":
        raise CommandLineError(
            f"--{unused[0].removesuffix('s')} is for the compiler, and {path} is not compiled",
            expected="-o with a name that ends in .vmfb",
        )
    return {
        **options,
        "inputs": tuple(map(parse_input, options["inputs"])),
        "parameters": _parameters(path, options),
        "timeout": options["timeout"] or None,
    }


def _parameters(path: Path, options: dict[str, Any]) -> Path | None:
    """Return where external weights go; None where they are in the vmfb or in a checkpoint."""
    named: Path | None = options["parameters"]
    if options["weights"] == "external":
        return named or path.with_suffix(".safetensors")
    if named is not None:
        raise CommandLineError(
            f"no weights are left for {named}",
            got=f"--weights={options['weights']}",
            expected="--weights=external with --parameters",
        )
    return None
