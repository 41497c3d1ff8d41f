# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`shark-turbine inspect`: what a vmfb says about itself, read without torch and without IREE."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from shark_turbine.errors import LoadError
from shark_turbine.signature import FunctionSignature, StateEntry, format_tree

from . import exits
from .output import print_json, print_table, readable_size

MANIFEST_ENTRY = "shark_turbine.json"
# IREE's own part of the file.
_PROGRAM_ENTRY = "module.fb"


@click.command(short_help="Show what is in a compiled file")
@click.argument("file", metavar="FILE.vmfb", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the manifest inside as JSON.")
def inspect(file: Path, as_json: bool) -> int:
    """Show the functions, target, state and parameters of a compiled file.

    Every byte is compared with its checksum on the way.
    """
    manifest, sizes = _read(file)
    if as_json:
        print_json(manifest)
        return exits.FINE
    try:
        facts, functions = list(_facts(file, manifest, sizes)), list(_functions(manifest))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise LoadError(
            f"the manifest inside {file} cannot be understood",
            got=f"{type(error).__name__}: {error}",
            fix="shark-turbine inspect --json prints it as it is; or compile it again",
        ) from error
    print_table(("", ""), facts)
    print()
    print_table(("function", "", "name", "type"), functions)
    return exits.FINE


def _read(path: Path) -> tuple[Any, dict[str, int]]:
    """Read the manifest that the compiler room stores inside the artifact, which is a ZIP file.

    Returns the sizes of the file's entries too.

    Raises:
        LoadError: no such file, not a ZIP file, damaged, or a vmfb that another tool made.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
            if damaged is not None:
                raise zipfile.BadZipFile(f"the checksum of {damaged!r} inside does not match")
            sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
            return json.loads(archive.read(MANIFEST_ENTRY)), sizes
    except OSError as error:
        raise LoadError(f"{path} cannot be read", got=error.strerror or error) from error
    except KeyError as error:
        raise LoadError(
            f"{path} has no shark_turbine manifest",
            got="a ZIP file without an entry " + MANIFEST_ENTRY,
            expected="a vmfb that shark_turbine compiled",
        ) from error
    except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError) as error:
        raise LoadError(
            f"{path} is damaged or is no vmfb",
            got=error,
            expected="a vmfb that shark_turbine compiled",
        ) from error


def _facts(path: Path, manifest: Any, sizes: dict[str, int]) -> Iterator[tuple[str, str]]:
    """Yield what is true of the file as a whole, a line each."""
    versions = ", ".join(f"{name} {version}" for name, version in manifest["versions"].items())
    yield "file", f"{path}, {readable_size(path.stat().st_size)}"
    if _PROGRAM_ENTRY in sizes:
        yield "program", f"{readable_size(sizes[_PROGRAM_ENTRY])}, code and weights that are inside"
    yield "compiled by", f"{manifest['producer']} ({versions})"
    yield "module", f"@{manifest['module']}"
    yield "target", _target(manifest["target"])
    recipe = manifest["recipe"]
    tiles = [f"tiles={recipe['tiles']}"] if recipe.get("tiles") else []
    words = " ".join([*recipe.get("rewrites", ()), *tiles, *recipe["flags"]])
    yield "recipe", f"{recipe['name']}: {words}" if words else recipe["name"]
    if recipe.get("device"):
        yield "device", f"{recipe['device']}, unless load() is told another"
    if manifest["flags"]:
        yield "flags", " ".join(manifest["flags"])
    stripped = manifest["contracts_stripped"]
    yield "contracts", "LEFT OUT: calls are not checked" if stripped else "checked in every call"
    yield "state", _state(manifest["state"], manifest["stateful"])
    yield "parameters", _parameters(manifest["parameters"])


def _target(target: Any) -> str:
    features = target["cpu_features"] or ""
    count = sum(feature.startswith("+") for feature in features.split(","))
    parts = [
        ", ".join(target["backends"]),
        target["triple"] or "",
        target["cpu"] and f"cpu {target['cpu']}",
        f"{count} cpu features" if count else "",
    ]
    return ", ".join(part for part in parts if part)


def _state(entries: Any, is_stateful: bool | None) -> str:
    if entries is None:
        return "not known"
    globals_ = [StateEntry.from_json(entry) for entry in entries]
    if not globals_:
        return (
            "no mutable globals; calls advance a generator of random numbers"
            if is_stateful
            else "none"
        )
    shown = ", ".join(f"{entry.name}: {entry.type}" for entry in globals_)
    return f"{_count(globals_, 'mutable global')}: {shown}"


def _parameters(entries: Any) -> str:
    if entries is None:
        return "not known"
    if not entries:
        return "none outside of the file"
    size = readable_size(sum(entry["nbytes"] for entry in entries))
    scopes = dict.fromkeys(str(entry["scope"]) for entry in entries)
    return f"{_count(entries, 'tensor')} of {size} from outside, scope {', '.join(scopes)}"


def _functions(manifest: Any) -> Iterator[tuple[str, str, str, str]]:
    """Yield a line for each argument, result and contract."""
    for data in manifest["functions"]:
        signature = FunctionSignature.from_json(data)
        lines = [("takes", str(each.name), str(each.type)) for each in signature.arguments]
        result = format_tree(signature.result, lambda index, of=signature: str(of.results[index]))
        lines += [("gives", "", result)]
        lines += [("checks", "", contract) for contract in signature.contracts]
        for index, line in enumerate(lines):
            yield (signature.name if index == 0 else "", *line)


def _count(things: Any, word: str) -> str:
    return f"{len(things)} {word}" + "s" * (len(things) != 1)
