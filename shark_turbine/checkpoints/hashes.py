# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""SHA-256 of tensors, in memory and in files; that of a file is computed once per version.

SHA-256 because CPUs have instructions for it: 1.7 GB/s a core where BLAKE2b takes 0.6. It is computed
in threads, with Python's lock released.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from shark_turbine.cache_folder import remember, remembered

from .memory import bytes_of
from .stored import FileVersion, StoredTensor

_CHUNK = 4 * 2**20
# Reading so much again is quicker than a look into the cache is worth.
_WORTH_REMEMBERING = 2**23
# A file that changed just now may change again under the same time stamp.
_SETTLED_NS = 50_000_000


def hash_tensors(tensors: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """Return the SHA-256, in hexadecimal, of the bytes of each tensor."""
    # The longest first: at the end no thread works alone for long.
    in_order = sorted(tensors, key=lambda key: -tensors[key].nbytes)
    with ThreadPoolExecutor(_threads()) as pool:
        digests = pool.map(
            lambda key: hashlib.sha256(bytes_of(tensors[key]).data).hexdigest(), in_order
        )
        return dict(zip(in_order, digests, strict=True))


def hash_stored(tensors: Sequence[StoredTensor]) -> list[str]:
    """Return the SHA-256, in hexadecimal, of tensors in files.

    What was computed for a file that has not changed since is remembered on disk, in the cache
    folder. Files are read, not mapped: memory does not grow.

    Raises:
        ParameterError: a file changed since its header was read.
    """
    known: dict[FileVersion, dict[str, str]] = {}
    for file in {tensor.file for tensor in tensors}:
        known[file] = _recall(file)
    unknown = [tensor for tensor in tensors if _place(tensor) not in known[tensor.file]]
    unknown.sort(key=lambda tensor: -tensor.nbytes)
    with ThreadPoolExecutor(_threads()) as pool:
        for tensor, digest in zip(unknown, pool.map(_hash_stored, unknown), strict=True):
            known[tensor.file][_place(tensor)] = digest
    for file in {tensor.file for tensor in unknown}:
        if sum(tensor.nbytes for tensor in unknown if tensor.file == file) >= _WORTH_REMEMBERING:
            _retain(file, known[file])
    return [known[tensor.file][_place(tensor)] for tensor in tensors]


def _hash_stored(tensor: StoredTensor) -> str:
    digest = hashlib.sha256()
    if tensor.pattern:
        digest.update(tensor.pattern * (tensor.nbytes // len(tensor.pattern)))
        return digest.hexdigest()
    buffer = memoryview(bytearray(min(_CHUNK, tensor.nbytes)))
    with tensor.file.open() as file:
        position, end = tensor.offset, tensor.offset + tensor.nbytes
        while position < end:
            piece = buffer[: end - position]
            count = os.preadv(file.fileno(), [piece], position)
            if count == 0:
                break  # Somebody cut it short: the hash will differ.
            digest.update(piece[:count])
            position += count
    return digest.hexdigest()


def _place(tensor: StoredTensor) -> str:
    pattern = f" {tensor.pattern.hex()}" if tensor.pattern else ""
    return f"{tensor.offset}+{tensor.nbytes}{pattern}"


def _recall(file: FileVersion) -> dict[str, str]:
    facts: Any = remembered(_name(file))
    if facts.get("version") != _version(file) or not isinstance(facts.get("hashes"), dict):
        return {}
    return dict(facts["hashes"])


def _retain(file: FileVersion, hashes: Mapping[str, str]) -> None:
    if time.time_ns() - file.modified_ns < _SETTLED_NS:
        return
    remember(_name(file), {"version": _version(file), "hashes": hashes})


def _name(file: FileVersion) -> str:
    return f"parameters-{hashlib.sha256(os.fsencode(file.path)).hexdigest()[:16]}"


def _version(file: FileVersion) -> list[Any]:
    return [str(file.path), file.size, file.modified_ns, file.inode]


def _threads() -> int:
    return max(1, len(os.sched_getaffinity(0)))
