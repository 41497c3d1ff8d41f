# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The versions of torch and IREE that this release supports, checked without importing either."""

from __future__ import annotations

import importlib.metadata
import re
from dataclasses import dataclass
from functools import cache

from shark_turbine.errors import VersionError

Release = tuple[int, int]


@dataclass(frozen=True, slots=True)
class SupportRange:
    """From `minimum` up to, but without, `below`; both are a major and a minor number."""

    minimum: Release
    below: Release

    def __contains__(self, version: str) -> bool:
        release = _release_of(version)
        return release is not None and self.minimum <= release < self.below

    def __str__(self) -> str:
        return f">={_dotted(self.minimum)},<{_dotted(self.below)}"


# The same ranges as in pyproject.toml. pip can be overruled, and then a wrong pair of versions shows itself as a crash
# far from its cause; so the rooms that need these packages ask again.
SUPPORTED = {
    "torch": SupportRange((2, 13), (2, 14)),
    "iree-base-compiler": SupportRange((3, 13), (3, 14)),
    "iree-base-runtime": SupportRange((3, 13), (3, 14)),
}


@cache
def require(distribution: str) -> None:
    """Check that a supported version of one distribution of `SUPPORTED` is installed.

    Reads the installed metadata only; a second call with the same name costs nothing.

    Raises:
        VersionError: it is missing or outside of the range.
    """
    supported = SUPPORTED[distribution]
    version = installed(distribution)
    if version is not None and version in supported:
        return
    raise VersionError(
        f"shark_turbine needs {distribution} in a version that it was tested with",
        got=f"{distribution} {version}" if version else f"{distribution} is not installed",
        expected=f"{distribution}{supported}",
        fix=f"python -m pip install '{distribution}{supported}'",
    )


def installed(distribution: str) -> str | None:
    """Return the installed version of a distribution, None where there is none."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _release_of(version: str) -> Release | None:
    match = re.match(r"(\d+)\.(\d+)", version)
    return (int(match[1]), int(match[2])) if match else None


def _dotted(release: Release) -> str:
    return ".".join(str(part) for part in release)
