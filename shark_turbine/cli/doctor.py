# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`shark-turbine doctor`: what works here, what does not, and what mends it."""

from __future__ import annotations

from dataclasses import asdict

import click

from . import exits
from .finding import PROBLEM
from .output import print_json, print_table


@click.command(short_help="Check this installation")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as one JSON object.")
def doctor(as_json: bool) -> int:
    """Check this installation: versions, compiler, runtime, CPU, cache, environment.

    Compiles a small program for this CPU and runs it. Exits with 1 where there is a problem; a warning
    is none.
    """
    # Help and completion do not need it.
    from .checks import findings  # noqa: PLC0415

    found = list(findings())
    has_problem = any(finding.verdict == PROBLEM for finding in found)
    if as_json:
        print_json({"ok": not has_problem, "findings": [asdict(finding) for finding in found]})
    else:
        rows = [(finding.verdict, finding.about, finding.said) for finding in found]
        print_table(("", "", ""), rows)
        for finding in found:
            if finding.fix is not None:
                print(f"\n{finding.about}: {finding.fix}")
    return exits.FOUND_PROBLEM if has_problem else exits.FINE
