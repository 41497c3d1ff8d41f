# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A checkpoint: one file, several, or a folder as Hugging Face's `save_pretrained` writes it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from shark_turbine.errors import ParameterError

from . import gguf, irpa
from .gguf import read_gguf
from .irpa import read_irpa
from .safetensors import read_safetensors
from .stored import FileVersion, StoredTensor, index_by_key, unreadable

PathLike = str | os.PathLike[str]

_INDEX = ".safetensors.index.json"
_USUAL = "model.safetensors"
_SUFFIXES = (".safetensors", ".irpa", ".gguf")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The tensors of one file or of several, by key; `name` is what its user calls it."""

    name: str
    tensors: Mapping[str, StoredTensor]

    @property
    def files(self) -> tuple[FileVersion, ...]:
        """The files, each once."""
        return tuple(dict.fromkeys(tensor.file for tensor in self.tensors.values()))


def open_checkpoint(source: PathLike | Iterable[PathLike]) -> Checkpoint:
    """Look into a file, a folder or several files; only headers are read.

    A folder holds one file, or shards and the index that names them (`*.safetensors.index.json`).

    Raises:
        ParameterError: it is missing, of another format, cut short, or has a key twice.
    """
    if isinstance(source, (str, os.PathLike)):
        name, paths = os.fspath(source), _files_of(Path(source))
    else:
        given = [Path(path) for path in source]
        name = ", ".join(map(str, given))
        paths = [file for path in given for file in _files_of(path)]
    tensors: dict[str, StoredTensor] = {}
    for path in paths:
        for key, tensor in _read(path).items():
            other = tensors.setdefault(key, tensor)
            if other is not tensor:
                raise ParameterError(
                    f"two parameter files hold {key!r}",
                    where=name,
                    got=f"{other.file.path}\n{path}",
                    expected="each tensor in one file",
                    fix="give the files of one model, or each under a scope of its own",
                )
    return Checkpoint(name, tensors)


def _read(path: Path) -> Mapping[str, StoredTensor]:
    try:
        with path.open("rb") as file:
            head = file.read(9)
            file.seek(0)
            if head[:4] == irpa.MAGIC:
                return index_by_key(read_irpa(file, path), path)
            if head[:4] == gguf.MAGIC:
                return index_by_key(read_gguf(file, path), path)
            if path.suffix == ".safetensors" or head[8:9] == b"{":
                return index_by_key(read_safetensors(file, path), path)
    except OSError as error:
        raise unreadable(path, error) from error
    kind = "an empty file" if not head else f"a file that begins with {head[:8]!r}"
    raise ParameterError(
        "this is no parameter file",
        where=str(path),
        got=kind,
        expected="a .safetensors, .irpa or .gguf file",
        fix="save the weights with safetensors.torch.save_file(model.state_dict(), path), or with "
        "aot.save_module_parameters(path, model)",
    )


def _files_of(path: Path) -> Sequence[Path]:
    if path.is_dir():
        return _files_of_folder(path)
    return _shards(path) if path.name.endswith(_INDEX) else [path]


def _files_of_folder(folder: Path) -> Sequence[Path]:
    names = sorted(os.listdir(folder))
    if _USUAL in names:
        return [folder / _USUAL]
    indices = [name for name in names if name.endswith(_INDEX)]
    if f"{_USUAL}.index.json" in indices:
        indices = [f"{_USUAL}.index.json"]
    if len(indices) == 1:
        return _shards(folder / indices[0])
    files = [name for name in names if name.endswith(_SUFFIXES)]
    if len(files) == 1 and not indices:
        return [folder / files[0]]
    pickled = [name for name in names if name.endswith((".bin", ".pt", ".pth", ".ckpt"))]
    fix = "name the file itself"
    if not files and pickled:
        fix = "save it again as safetensors: model.save_pretrained(folder)"
    raise ParameterError(
        "the folder does not say which of its files are the checkpoint",
        where=str(folder),
        got=", ".join([*indices, *files, *pickled][:8]) or "no parameter file",
        expected=f"{_USUAL}, {_USUAL}.index.json with its shards, or one parameter file",
        fix=fix,
    )


def _shards(index: Path) -> Sequence[Path]:
    try:
        shards: Mapping[str, str] = json.loads(index.read_bytes())["weight_map"]
        names = sorted({str(name) for name in shards.values()})
        _refuse_other_folders(names)
    except OSError as error:
        raise unreadable(index, error) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ParameterError(
            "the index of the shards cannot be understood",
            where=str(index),
            got=repr(error)[:200],
            expected='{"weight_map": {key: file, ...}}',
        ) from error
    paths = [index.parent / name for name in names]
    absent = [name for name, path in zip(names, paths, strict=True) if not path.is_file()]
    if absent:
        raise ParameterError(
            "shards of the checkpoint are missing",
            where=str(index),
            got=f"no {', '.join(absent)}",
            expected=f"all {len(names)} files that the index names",
            fix="copy the whole folder",
        )
    return paths


def _refuse_other_folders(names: Sequence[str]) -> None:
    """Raise ValueError for shards outside of the index's folder: an index may come from anywhere."""
    for name in names:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ValueError(f"{name!r} is not in the folder of the index")
