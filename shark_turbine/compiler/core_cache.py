# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The cache that each core of this machine has for itself."""

from __future__ import annotations

import re
from pathlib import Path

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_SIZE = re.compile(r"(\d+)K\s*")


def cache_of_core(caches: Path = _CACHES) -> int | None:
    """Return the bytes of a core's second-level cache; None where the system does not say.

    Linux says (`Documentation/ABI/testing/sysfs-devices-system-cpu`), other systems are not asked.
    """
    for index in sorted(caches.glob("index*")):
        try:
            level = (index / "level").read_text().strip()
            size = _SIZE.fullmatch((index / "size").read_text())
        except (OSError, UnicodeError):
            continue
        if level == "2" and size is not None:
            return int(size[1]) * 2**10
    return None
