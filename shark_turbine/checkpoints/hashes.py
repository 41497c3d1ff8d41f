# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The hashes of tensors, in memory and in files; those of a file are computed once per version.

They are computed in threads; numpy and hashlib release Python's lock. See `folding` for the hash.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any

import torch

from shark_turbine.cache_folder import remember, remembered

from .folding import KIND, ROW, folded_hash
from .memory import bytes_of
from .stored import FileVersion, StoredTensor

_CHUNK = 32 * ROW
# Reading so much again is quicker than a look into the cache is worth.
_WORTH_REMEMBERING = 2**23
# A file that changed just now may change again under the same time stamp.
_SETTLED_NS = 50_000_000


def hash_tensors(tensors: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """Return the hash, in hexadecimal, of the bytes of each tensor."""
    # The longest first: at the end no thread works alone for long.
    in_order = sorted(tensors, key=lambda key: -tensors[key].nbytes)
    with ThreadPoolExecutor(_threads()) as pool:
        digests = pool.map(_hash_tensor, (tensors[key] for key in in_order))
        return dict(zip(in_order, digests, strict=True))


def hash_stored(tensors: Sequence[StoredTensor]) -> list[str]:
    """Return the hash, in hexadecimal, of tensors in files.

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


def _hash_tensor(tensor: torch.Tensor) -> str:
    memory = bytes_of(tensor)
    return folded_hash([memory.data], memory.nbytes)


def _hash_stored(tensor: StoredTensor) -> str:
    if tensor.pattern:
        memory = tensor.pattern * (tensor.nbytes // len(tensor.pattern))
        return folded_hash([memoryview(memory)], len(memory))
    with tensor.file.open() as file:
        return folded_hash(_chunks(file, tensor), tensor.nbytes)


def _chunks(file: IO[bytes], tensor: StoredTensor) -> Iterator[memoryview]:
    """Yield the bytes of a tensor; fewer if somebody cuts the file short, which the hash shows."""
    buffer = memoryview(bytearray(min(_CHUNK, tensor.nbytes)))
    position, end = tensor.offset, tensor.offset + tensor.nbytes
    while position < end:
        wanted = min(len(buffer), end - position)
        filled = 0
        while filled < wanted:
            count = os.preadv(file.fileno(), [buffer[filled:wanted]], position + filled)
            if count == 0:
                break
            filled += count
        yield buffer[:filled]
        if filled < wanted:
            return
        position += filled


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
    return [KIND, str(file.path), file.size, file.modified_ns, file.inode]


def _threads() -> int:
    return max(1, len(os.sched_getaffinity(0)))
