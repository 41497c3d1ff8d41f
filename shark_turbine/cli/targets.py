# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`shark-turbine targets`: the machines that have a name, and whether the compiler here makes code for them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from shark_turbine.errors import CompileError

from . import exits
from .output import print_json, print_table


@click.command(short_help="List the targets that have a name")
@click.option("--json", "as_json", is_flag=True, help="Print the table as one JSON list.")
def targets(as_json: bool) -> int:
    """List the targets that have a name, for export --target.

    The installed compiler is asked about each whether it makes code for it. For other machines there are
    compile(target_triple=..., target_cpu=...) and export --flag.
    """
    found = _found()
    if as_json:
        print_json(found)
        return exits.FINE
    headers = ("target", "compiles here", "backend", "cpu", "for")
    rows = [
        (
            entry["name"],
            "yes" if entry["compiles"] else "no",
            entry["backend"],
            entry["cpu"] or "",
            entry["note"],
        )
        for entry in found
    ]
    print_table(headers, rows)
    return exits.FINE


def _found() -> list[dict[str, Any]]:
    # Help and completion do not need the compiler.
    from shark_turbine.compiler import MACHINES  # noqa: PLC0415

    entries: list[dict[str, Any]] = []
    for name, machine in MACHINES.items():
        refusal = _refusal(machine)
        entries.append(
            {"name": name, **asdict(machine), "compiles": refusal is None, "refusal": refusal}
        )
    return entries


def _refusal(machine: Any) -> str | None:
    """Return why the installed compiler makes no code for a machine; None where it does."""
    # As above.
    from shark_turbine.compiler.targets import make_target, resolve  # noqa: PLC0415

    try:
        target = make_target(
            machine.backend,
            triple=machine.triple,
            cpu=machine.cpu,
            cpu_features=machine.cpu_features,
        )
        resolve(target, machine.flags)
    except CompileError as error:
        return error.what
    return None
