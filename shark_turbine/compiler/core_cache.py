# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""How much of what it works on a core of this machine keeps near."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_SIZE = re.compile(r"(\d+)K\s*")


@cache
def cache_of_core() -> int | None:
    """Return the bytes of a core's second-level cache; None where the system does not say.

    Linux says (`Documentation/ABI/testing/sysfs-devices-system-cpu`), other systems are not asked.
    """
    return second_level(_CACHES)


def second_level(caches: Path) -> int | None:
    """Return the bytes of the second-level cache in a folder of sysfs; None where there is none."""
    for index in sorted(caches.glob("index*")):
        try:
            level = (index / "level").read_text().strip()
            size = _SIZE.fullmatch((index / "size").read_text())
        except (OSError, UnicodeError):
            continue
        if level == "2" and size is not None:
            return int(size[1]) * 2**10
    return None
