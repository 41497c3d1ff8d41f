# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Files of tensors: what is in them, whether it is what a module needs, and how to write them.

`.safetensors` (one file, or a folder of shards as Hugging Face saves a model), `.gguf` and `.irpa`
files are read as they are. Nothing here knows IREE: exporting and running both look into files.
"""

from .external import ExternalParameter
from .fitting import Fit, Found, change_prefix, fit, prefixes, torn_apart
from .folders import Checkpoint, open_checkpoint
from .hashes import hash_stored, hash_tensors
from .irpa import describe, parse_metadata, tensor_metadata
from .memory import bytes_of, load_stored
from .safetensors import write_safetensors
from .stored import FileVersion, StoredTensor

__all__ = [
    "Checkpoint",
    "ExternalParameter",
    "FileVersion",
    "Fit",
    "Found",
    "StoredTensor",
    "bytes_of",
    "change_prefix",
    "describe",
    "fit",
    "hash_stored",
    "hash_tensors",
    "load_stored",
    "open_checkpoint",
    "parse_metadata",
    "prefixes",
    "tensor_metadata",
    "torn_apart",
    "write_safetensors",
]
