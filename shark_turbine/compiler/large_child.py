# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs in a child process: compiles a module whose weights stay in the file that they come in.

`iree-compile` copies every large constant when it reads a module, beside the pages of the mapped
file. The bindings read a file without copying, so one gigabyte of weights takes two less; and the
pages that were looked at are given back to the system, which has them in the file.

    python -I large_child.py <input> <output> <compiler options>

It says nothing: whatever fails here is tried again with `iree-compile`, which says why.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from typing import Any

_DUMP = "--mlir-print-ir-tree-dir="
_PHASE = b"stream"
_MADV_DONTNEED = 4
_PERIOD = 0.01


def main(source: str, output: str, *options: str) -> int:
    """Compile and return the exit status."""
    from iree.compiler import api, ir  # noqa: PLC0415 (nothing else of the package is needed)

    session = api.Session()
    folder = next((option[len(_DUMP) :] for option in options if option.startswith(_DUMP)), None)
    # A session does not know how to print.
    session.set_flags(*(option for option in options if not option.startswith((_DUMP, "--mlir-"))))
    module = ir.Module.parseFile(source, session.context)
    threading.Thread(target=_give_pages_back, args=(source,), daemon=True).start()
    invocation = session.invocation()
    invocation.import_module(module.operation)
    if folder is not None and not _run_and_print(invocation, folder):
        return 1
    if not invocation.execute():
        return 1
    file = api.Output.open_file(output)
    invocation.output_vm_bytecode(file)
    file.keep()
    return 0


def _run_and_print(invocation: Any, folder: str) -> bool:
    """Run the first phases and write the module down without its weights; say whether it worked."""
    library, pointer = invocation._local_dylib, invocation._inv_p
    library.ireeCompilerInvocationSetCompileToPhase.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    library.ireeCompilerInvocationSetCompileFromPhase.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    library.ireeCompilerInvocationSetCompileToPhase(pointer, _PHASE)
    if not invocation.execute():
        return False
    module = invocation.export_module()
    text = module.get_asm(enable_debug_info=True, large_elements_limit=16, large_resource_limit=16)
    with open(os.path.join(folder, f"module.{_PHASE.decode()}.mlir"), "w") as file:
        file.write(text)
    library.ireeCompilerInvocationSetCompileFromPhase(pointer, _PHASE)
    library.ireeCompilerInvocationSetCompileToPhase(pointer, b"end")
    return True


def _give_pages_back(source: str) -> None:
    """Drop the pages of a mapped file again and again; whoever reads them gets them anew."""
    wanted = os.stat(source)
    system = ctypes.CDLL(None)
    places = [(start, length) for start, length, inode in _mappings() if inode == wanted.st_ino]
    pause = threading.Event()
    while places and not pause.wait(_PERIOD):
        for start, length in places:
            system.madvise(ctypes.c_void_p(start), ctypes.c_size_t(length), _MADV_DONTNEED)


def _mappings() -> list[tuple[int, int, int]]:
    """Return start, length and inode of what is mapped read-only."""
    found: list[tuple[int, int, int]] = []
    with open("/proc/self/maps") as maps:
        for line in maps:
            addresses, rights, _, _, inode = line.split()[:5]
            if rights == "r--p" and inode != "0":
                start, end = (int(address, 16) for address in addresses.split("-"))
                found.append((start, end - start, int(inode)))
    return found


if __name__ == "__main__":
    try:
        status = main(*sys.argv[1:])
    except (ValueError, RuntimeError):
        status = 1
    # The bindings report objects that outlive the interpreter; nothing here needs an orderly end.
    os._exit(status)
