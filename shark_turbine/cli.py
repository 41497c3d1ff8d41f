# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The `shark-turbine` command: thin, each subcommand prints what one part of the package knows."""

from __future__ import annotations

import argparse
import json
import platform
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import shark_turbine
from shark_turbine import versions
from shark_turbine.errors import LoadError, TurbineError

MANIFEST_ENTRY = "shark_turbine.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0 fine, 1 a check failed, 2 it could not be done.

    Args:
        arguments: the words after the command's name; None takes them from `sys.argv`.
    """
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except TurbineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="shark-turbine", description="PyTorch programs as IREE artifacts."
    )
    parser.add_argument(
        "--version", action="version", version=f"shark-turbine {shark_turbine.__version__}"
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    check = commands.add_parser("versions", help="show and check the installed versions")
    check.set_defaults(run=_run_versions)

    inspect = commands.add_parser("inspect", help="print the manifest inside a vmfb, as JSON")
    inspect.add_argument("file", type=Path, metavar="FILE.vmfb")
    inspect.set_defaults(run=_run_inspect)
    return parser


def _run_versions(_: argparse.Namespace) -> int:
    print(f"{'shark-turbine':<20} {shark_turbine.__version__}")
    print(f"{'python':<20} {platform.python_version()}")
    every_one_fits = True
    for distribution, supported in versions.SUPPORTED.items():
        version = versions.installed(distribution)
        fits = version is not None and version in supported
        every_one_fits = every_one_fits and fits
        verdict = "supported" if fits else "NOT SUPPORTED"
        print(f"{distribution:<20} {version or 'not installed':<16} {verdict} ({supported})")
    return 0 if every_one_fits else 1


def _run_inspect(options: argparse.Namespace) -> int:
    print(json.dumps(_read_manifest(options.file), indent=2, ensure_ascii=False))
    return 0


def _read_manifest(path: Path) -> Any:
    """Read the manifest that the compiler room stores inside the artifact, which is a ZIP file.

    Raises:
        LoadError: no such file, not a ZIP file, damaged, or a vmfb that another tool made.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read(MANIFEST_ENTRY))
    except OSError as error:
        raise LoadError(f"{path} cannot be read", got=error.strerror or error) from error
    except KeyError as error:
        raise LoadError(
            f"{path} has no shark_turbine manifest",
            got="a ZIP file without an entry " + MANIFEST_ENTRY,
            expected="a vmfb that shark_turbine compiled",
        ) from error
    except (zipfile.BadZipFile, ValueError) as error:
        raise LoadError(
            f"{path} is damaged or is no vmfb",
            got=error,
            expected="a vmfb that shark_turbine compiled",
        ) from error
