# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The hash of a tensor in a file is computed once for each version of the file."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from shark_turbine.checkpoints import hash_stored, hash_tensors, hashes, open_checkpoint
from shark_turbine.checkpoints.folding import ROW

# Enough for a look into the cache to be worth it.
LARGE = {"a": torch.arange(2**20, dtype=torch.float64), "b": torch.ones(2**20, dtype=torch.float64)}


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The offsets at which files are read."""
    found: list[int] = []
    read = os.preadv

    def counted(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        found.append(offset)
        return read(descriptor, buffers, offset)

    monkeypatch.setattr(hashes.os, "preadv", counted)
    return found


def settle(path: Path) -> None:
    """Give a file a time stamp of some time ago."""
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns - 10**9))


def test_hashes_are_those_of_the_bytes(tmp_path: Path) -> None:
    tensors = {
        "a": torch.arange(6.0).reshape(2, 3).T,
        "none": torch.empty(0),
        "one": torch.ones(()),
    }
    expected = {
        key: hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest()
        for key, tensor in tensors.items()
    }
    assert hash_tensors(tensors) == expected
    path = tmp_path / "a.safetensors"
    save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, path)
    stored = open_checkpoint(path).tensors
    assert hash_stored([stored[key] for key in expected]) == list(expected.values())


def by_hand(data: bytes) -> str:
    """Compute the hash of more than one row by the letter of its definition, lane by lane."""
    lanes = list(range(ROW // 8))
    whole = len(data) // ROW * ROW
    for place in range(0, whole, 8):
        lane = lanes[place // 8 % len(lanes)] ^ int.from_bytes(data[place : place + 8], "little")
        lane = lane * 0x9E3779B97F4A7C15 % 2**64
        lanes[place // 8 % len(lanes)] = lane ^ lane >> 32
    folded = b"".join(lane.to_bytes(8, "little") for lane in lanes)
    return hashlib.sha256(len(data).to_bytes(8, "little") + folded + data[whole:]).hexdigest()


@pytest.mark.parametrize("size", [ROW + 1, 2 * ROW, 33 * ROW + 3])
def test_a_long_tensor_is_folded(size: int, tmp_path: Path) -> None:
    tensor = (torch.arange(size) * 37 % 251).to(torch.uint8)
    expected = by_hand(tensor.numpy().tobytes())
    assert hash_tensors({"a": tensor}) == {"a": expected}
    save_file({"a": tensor}, tmp_path / "a.safetensors")
    assert hash_stored(list(open_checkpoint(tmp_path / "a.safetensors").tensors.values())) == [
        expected
    ]


def test_what_differs_has_another_hash() -> None:
    rows = torch.rand(4, ROW // 8, dtype=torch.float64)
    tail = torch.zeros(3, dtype=torch.float64)
    original = torch.cat([rows.reshape(-1), tail])
    others = {
        "original": original,
        "negated": -original,
        "swapped": torch.cat([rows[[1, 0, 2, 3]].reshape(-1), tail]),
        "longer": torch.cat([original, tail]),
        "shorter": original[:-1],
        "zero": original * 0,
    }
    for place in (0, 7, ROW // 8, 3 * ROW // 8 + 5, -1):
        others[f"bit at {place}"] = original.clone()
        others[f"bit at {place}"].view(torch.uint8)[place * 8] ^= 1
    assert len(set(hash_tensors(others).values())) == len(others)


def test_a_file_is_read_once_for_each_version(tmp_path: Path, reads: list[int]) -> None:
    path = tmp_path / "a.safetensors"
    save_file(LARGE, path)
    settle(path)
    first = hash_stored(list(open_checkpoint(path).tensors.values()))
    assert reads
    reads.clear()
    assert hash_stored(list(open_checkpoint(path).tensors.values())) == first
    assert reads == []
    save_file({**LARGE, "a": LARGE["a"] + 1}, path)
    settle(path)
    second = hash_stored(list(open_checkpoint(path).tensors.values()))
    assert [old == new for old, new in zip(first, second, strict=True)] == [False, True]


def test_a_file_that_was_written_just_now_is_not_remembered(
    tmp_path: Path, reads: list[int]
) -> None:
    path = tmp_path / "a.safetensors"
    save_file(LARGE, path)
    os.utime(path)
    tensors = list(open_checkpoint(path).tensors.values())
    modified = tensors[0].file.modified_ns
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hashes.time, "time_ns", lambda: modified + 1000)
        hash_stored(tensors)
    reads.clear()
    hash_stored(tensors)
    assert reads


def test_without_a_cache(tmp_path: Path, reads: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHARK_TURBINE_CACHE", "0")
    path = tmp_path / "a.safetensors"
    save_file(LARGE, path)
    settle(path)
    tensors = list(open_checkpoint(path).tensors.values())
    assert hash_stored(tensors) == hash_stored(tensors)
