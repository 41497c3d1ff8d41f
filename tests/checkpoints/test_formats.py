# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Files of tensors, read as they are: against the libraries that define the formats, and damaged."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import iree.runtime as iree
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from shark_turbine import dtypes
from shark_turbine.checkpoints import (
    FileVersion,
    load_stored,
    open_checkpoint,
    tensor_metadata,
    write_safetensors,
)
from shark_turbine.errors import ParameterError

TENSORS = {
    "weight": torch.arange(12.0).reshape(3, 4),
    "step": torch.tensor(7),
    "none": torch.empty(0, 5),
    "mask": torch.tensor([True, False, True]),
    "half": torch.arange(6).to(torch.bfloat16).reshape(2, 3),
}


def same(left: torch.Tensor, right: torch.Tensor) -> bool:
    return left.dtype == right.dtype and torch.equal(left, right)


def gguf_file(path: Path, tensors: dict[str, np.ndarray], alignment: int = 32) -> None:
    """Write a GGUF file by the letter of its specification."""

    def string(text: str) -> bytes:
        return struct.pack("<Q", len(text)) + text.encode()

    kinds = {"float32": 0, "float16": 1, "int8": 24, "int32": 26, "int64": 27, "float64": 28}
    header = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), 3)
    header += string("general.architecture") + struct.pack("<I", 8) + string("test")
    header += string("general.alignment") + struct.pack("<II", 4, alignment)
    header += string("tokens") + struct.pack("<IIQ", 9, 8, 2) + string("a") + string("bc")
    body = b""
    for key, array in tensors.items():
        body += b"\0" * (-len(body) % alignment)
        header += string(key) + struct.pack("<I", array.ndim)
        header += struct.pack(f"<{array.ndim}Q", *reversed(array.shape))
        header += struct.pack("<IQ", kinds[array.dtype.name], len(body))
        body += array.tobytes()
    header += b"\0" * (-len(header) % alignment)
    path.write_bytes(header + body)


def test_safetensors_of_the_library(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file(TENSORS, path, metadata={"format": "pt"})
    checkpoint = open_checkpoint(path)
    assert set(checkpoint.tensors) == set(TENSORS)
    for key, tensor in TENSORS.items():
        assert same(load_stored(checkpoint.tensors[key]), tensor)


def test_safetensors_of_ours_are_read_by_the_library_and_lie_where_they_can_be_mapped(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.safetensors"
    long = {f"long {number}": torch.rand(16, number) for number in (1, 2, 3)}
    with path.open("wb") as file:
        write_safetensors(file, {**TENSORS, **long})
    found = load_file(path)
    assert all(same(found[key], tensor) for key, tensor in {**TENSORS, **long}.items())
    stored = open_checkpoint(path).tensors
    assert [stored[key].offset % 64 for key in long] == [0, 0, 0]


@pytest.mark.parametrize("row", dtypes.TABLE, ids=str)
def test_the_names_of_dtypes_are_those_of_the_library(row: dtypes.DType, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    tensor = torch.zeros(3, dtype=row.torch)
    if row.safetensors is None:
        with pytest.raises(KeyError):
            save_file({"x": tensor}, path)
        return
    save_file({"x": tensor}, path)
    assert open_checkpoint(path).tensors["x"].dtype == row.name


def test_irpa_that_iree_wrote(tmp_path: Path) -> None:
    path = tmp_path / "a.irpa"
    index = iree.ParameterIndex()
    weight = TENSORS["weight"].numpy()
    iree.parameter_index_add_numpy_ndarray(index, "weight", weight)
    index.add_buffer("blob", b"abc")
    index.add_splat("splat", np.array([2.5], np.float32), 40)
    index.create_archive_file(str(path))
    stored = open_checkpoint(path).tensors
    assert list(stored) == ["weight", "blob", "splat"]
    assert same(load_stored(stored["weight"]), TENSORS["weight"])
    blob = stored["blob"]
    assert (blob.dtype, blob.shape, blob.nbytes) == (None, None, 3)
    assert path.read_bytes()[blob.offset : blob.offset + 3] == b"abc"
    assert (stored["splat"].nbytes, stored["splat"].pattern) == (40, struct.pack("<f", 2.5))


@pytest.mark.parametrize("alignment", [32, 64])
def test_gguf_as_iree_reads_it(alignment: int, tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    arrays = {
        "weight": np.arange(12, dtype=np.float32).reshape(3, 4),
        "odd": np.arange(5, dtype=np.float32),
        "half": np.arange(6, dtype=np.float16).reshape(1, 2, 3),
    }
    gguf_file(path, arrays, alignment)
    index = iree.ParameterIndex()
    index.load(str(path))
    theirs = {key: bytes(entry.file_view) for key, entry in index.items()}
    ours = open_checkpoint(path).tensors
    assert set(ours) == set(theirs) == set(arrays)
    for key, array in arrays.items():
        tensor = load_stored(ours[key])
        assert tensor.numpy().tobytes() == theirs[key] == array.tobytes()
        assert (tuple(tensor.shape), tensor.numpy().dtype) == (array.shape, array.dtype)


def test_gguf_block_formats_have_a_length_and_no_dtype(tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    gguf_file(path, {"q": np.zeros((2, 32), np.int8)})
    data = bytearray(path.read_bytes())
    place = data.index(struct.pack("<QQI", 32, 2, 24)) + 16
    data[place : place + 4] = struct.pack("<I", 2)  # Q4_0: 18 bytes for 32 elements.
    path.write_bytes(data)
    stored = open_checkpoint(path).tensors["q"]
    assert (stored.dtype, stored.shape, stored.nbytes) == (None, (2, 32), 36)
    assert str(stored) == "Q4_0[2, 32]"
    with pytest.raises(ParameterError, match="in a format that is no dtype"):
        load_stored(stored)


@pytest.mark.parametrize("name", ["a.safetensors", "a.irpa", "a.gguf"])
def test_a_file_cut_short_anywhere_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    weight = np.arange(16, dtype=np.float32)
    if name.endswith("gguf"):
        gguf_file(path, {"weight": weight})
    elif name.endswith("irpa"):
        index = iree.ParameterIndex()
        iree.parameter_index_add_numpy_ndarray(index, "weight", weight)
        index.create_archive_file(str(path))
    else:
        save_file({"weight": torch.from_numpy(weight)}, path)
    data = path.read_bytes()
    stored = open_checkpoint(path).tensors["weight"]
    end = stored.offset + stored.nbytes
    for length in range(end):
        path.write_bytes(data[:length])
        with pytest.raises(ParameterError):
            open_checkpoint(path)
    path.write_bytes(data[:end])
    assert load_stored(open_checkpoint(path).tensors["weight"]).tolist() == list(range(16))


def safetensors_text(header: object, body: bytes = b"") -> bytes:
    return safetensors_bytes(json.dumps(header).encode(), body)


def safetensors_bytes(header: bytes, body: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + body


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (safetensors_text([1]), "its header cannot be understood"),
        (safetensors_text({"x": {"dtype": "F32", "shape": [2]}}), "cannot be understood"),
        (
            safetensors_text(
                {"x": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}, b"8 bytes."
            ),
            r"'x': f32\[3\] in 8 bytes",
        ),
        (struct.pack("<Q", 2**60) + b"{}", "a header of 1152921504606846976 bytes"),
        (safetensors_bytes(b"[" * 100_000), "its header cannot be understood: RecursionError"),
        (
            b"GGUF"
            + struct.pack("<IQQQ", 3, 0, 1, 0)
            + struct.pack("<IIQ", 9, 9, 1)
            + struct.pack("<IQ", 9, 1) * 10_000,
            "its header cannot be understood: RecursionError",
        ),
        (b"PK\x03\x04 a pickle", "this is no parameter file"),
        (b"", "an empty file"),
    ],
)
def test_damage_is_named(data: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / ("a.bin" if data[:2] in (b"PK", b"") else "a.safetensors")
    path.write_bytes(data)
    with pytest.raises(ParameterError, match=message):
        open_checkpoint(path)


def test_a_splat_of_another_length_than_it_says(tmp_path: Path) -> None:
    path = tmp_path / "a.irpa"
    index = iree.ParameterIndex()
    described = tensor_metadata(torch.ones(4, 4))
    index.add_splat("x", np.array([1.0], np.float32), 4, metadata=described)
    index.create_archive_file(str(path))
    with pytest.raises(ParameterError, match=r"'x': f32\[4, 4\] in 4 bytes"):
        open_checkpoint(path)


def test_a_key_twice_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.irpa"
    index = iree.ParameterIndex()
    for value in (b"one", b"two"):
        index.add_buffer("key", value)
    index.create_archive_file(str(path))
    with pytest.raises(ParameterError, match="holds 'key' twice"):
        open_checkpoint(path)


def shards(folder: Path, *files: dict[str, torch.Tensor]) -> None:
    names: dict[str, str] = {}
    for number, tensors in enumerate(files, 1):
        name = f"model-{number:05}-of-{len(files):05}.safetensors"
        save_file(tensors, folder / name)
        names.update(dict.fromkeys(tensors, name))
    index = {"metadata": {}, "weight_map": names}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


class TestFolders:
    A, B = torch.ones(2), torch.zeros(3)

    def test_shards(self, tmp_path: Path) -> None:
        shards(tmp_path, {"a": self.A}, {"b": self.B})
        for source in (tmp_path, str(tmp_path), tmp_path / "model.safetensors.index.json"):
            checkpoint = open_checkpoint(source)
            assert set(checkpoint.tensors) == {"a", "b"}
            assert len(checkpoint.files) == 2

    def test_one_file_of_any_name(self, tmp_path: Path) -> None:
        save_file({"a": self.A}, tmp_path / "weights.safetensors")
        (tmp_path / "config.json").write_text("{}")
        assert set(open_checkpoint(tmp_path).tensors) == {"a"}
        save_file({"b": self.B}, tmp_path / "model.safetensors")
        assert set(open_checkpoint(tmp_path).tensors) == {"b"}

    def test_several_files(self, tmp_path: Path) -> None:
        for key in "ab":
            save_file({key: self.A}, tmp_path / f"{key}.safetensors")
        both = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
        assert set(open_checkpoint(both).tensors) == {"a", "b"}
        with pytest.raises(ParameterError, match=r"does not say which(.|\n)*name the file itself"):
            open_checkpoint(tmp_path)
        save_file({"a": self.B}, tmp_path / "c.safetensors")
        with pytest.raises(ParameterError, match="two parameter files hold 'a'"):
            open_checkpoint([*both, tmp_path / "c.safetensors"])

    def test_a_missing_shard(self, tmp_path: Path) -> None:
        shards(tmp_path, {"a": self.A}, {"b": self.B})
        (tmp_path / "model-00002-of-00002.safetensors").unlink()
        with pytest.raises(ParameterError, match="no model-00002-of-00002"):
            open_checkpoint(tmp_path)

    def test_an_index_that_is_none(self, tmp_path: Path) -> None:
        (tmp_path / "model.safetensors.index.json").write_text("[]")
        with pytest.raises(ParameterError, match="index of the shards cannot be understood"):
            open_checkpoint(tmp_path)

    @pytest.mark.parametrize("name", ["../elsewhere.safetensors", "/elsewhere.safetensors"])
    def test_an_index_that_names_files_elsewhere(self, name: str, tmp_path: Path) -> None:
        (tmp_path / "model.safetensors.index.json").write_text(
            json.dumps({"weight_map": {"a": name}})
        )
        with pytest.raises(ParameterError, match="is not in the folder of the index"):
            open_checkpoint(tmp_path)

    def test_pickled_weights(self, tmp_path: Path) -> None:
        (tmp_path / "pytorch_model.bin").write_bytes(b"PK")
        with pytest.raises(ParameterError, match="save it again as safetensors"):
            open_checkpoint(tmp_path)

    def test_an_empty_folder(self, tmp_path: Path) -> None:
        with pytest.raises(ParameterError, match="no parameter file"):
            open_checkpoint(tmp_path)


def test_a_file_that_changes_after_its_header_was_read(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"a": torch.ones(4)}, path)
    stored = open_checkpoint(path).tensors["a"]
    assert isinstance(stored.file, FileVersion)
    save_file({"a": torch.ones(8)}, path)
    with pytest.raises(ParameterError, match="changed while it was read"):
        load_stored(stored)
    path.unlink()
    with pytest.raises(ParameterError, match="cannot be read"):
        load_stored(stored)


def test_what_is_loaded_is_private(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"a": torch.ones(4)}, path)
    stored = open_checkpoint(path).tensors["a"]
    load_stored(stored).zero_()
    assert load_stored(stored).tolist() == [1, 1, 1, 1]
