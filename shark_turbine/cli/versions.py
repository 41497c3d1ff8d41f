# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`shark-turbine versions`: what is installed, beside what is supported."""

from __future__ import annotations

import platform

import click

import shark_turbine
from shark_turbine import versions as supported_versions

from . import exits


@click.command()
def versions() -> int:
    """Show and check the installed versions.

    Exits with 1 where one is not supported. `doctor` checks more.
    """
    print(f"{'shark-turbine':<20} {shark_turbine.__version__}")
    print(f"{'python':<20} {platform.python_version()}")
    every_one_fits = True
    for distribution, supported in supported_versions.SUPPORTED.items():
        version = supported_versions.installed(distribution)
        fits = version is not None and version in supported
        every_one_fits = every_one_fits and fits
        verdict = "supported" if fits else "NOT SUPPORTED"
        print(f"{distribution:<20} {version or 'not installed':<16} {verdict} ({supported})")
    return exits.FINE if every_one_fits else exits.FOUND_PROBLEM
