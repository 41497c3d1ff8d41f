# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`compile`: an MLIR module to a vmfb, through the compiler in a child process."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any, Literal

from shark_turbine import __version__
from shark_turbine.errors import CompileError
from shark_turbine.files import check_target, new_file
from shark_turbine.signature import FunctionSignature

from . import failures, inputs, large_child
from .targets import CPU_BACKEND, ResolvedTarget, Target, make_target, merge_flags, resolve
from .tools import ToolResult, find_tool, run_tool
from .torch_mlir import lower_for_iree
from .vmfb import Vmfb, append_manifest, make_manifest

DEFAULT_TIMEOUT = 3600.0

# From this size on a module is compiled by `large_child`, which starts slower and takes less memory.
LARGE_MODULE = 64 * 2**20

Lowering = Literal["iree", "torch-mlir"]
DescribeParameters = Callable[[], Sequence[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Options:
    """What `compile` is told about a module, under the same names and with the same defaults."""

    target_backends: Sequence[str] = (CPU_BACKEND,)
    target_cpu: str | None = "host"
    target_cpu_features: str | None = None
    target_triple: str | None = None
    flags: Sequence[str] = ()
    timeout: float | None = DEFAULT_TIMEOUT
    strip_contracts: bool = False
    lowering: Lowering = "iree"
    signatures: Sequence[FunctionSignature] = ()
    name: str | None = None
    stateful: bool | None = None
    preserves_inputs: bool = False
    diagnose: bool = True
    parameters: DescribeParameters | None = None


def compile(
    module: Any,
    *,
    save_to: str | PathLike[str] | None = None,
    target_backends: Sequence[str] = (CPU_BACKEND,),
    target_cpu: str | None = "host",
    target_cpu_features: str | None = None,
    target_triple: str | None = None,
    flags: Sequence[str] = (),
    timeout: float | None = DEFAULT_TIMEOUT,
    strip_contracts: bool = False,
    lowering: Lowering = "iree",
    signatures: Sequence[FunctionSignature] = (),
    name: str | None = None,
    stateful: bool | None = None,
    preserves_inputs: bool = False,
    diagnose: bool = True,
    parameters: DescribeParameters | None = None,
) -> Vmfb:
    """Compile an MLIR module to a vmfb.

    The compiler runs in a child process: its crash is an exception here. The same module and
    options give the same bytes.

    Args:
        module: an `ir.Module`, or MLIR as bytecode or text.
        save_to: where the vmfb goes, whole or not at all; None keeps it in memory.
        target_backends: IREE's backends, such as `llvm-cpu`, `vmvx`, `cuda`.
        target_cpu: an LLVM CPU name, `host` for this machine (fast, not portable), or `generic`.
        target_cpu_features: features with signs, `+avx2,-fma`, besides those of the CPU.
        target_triple: an LLVM triple; None is this machine's.
        flags: more options of `iree-compile`; they replace the same options of ours.
        timeout: seconds until the compiler is killed; None waits for ever.
        strip_contracts: leave out the checks of shapes and ranges on entry of functions.
        lowering: `iree`, or `torch-mlir` to lower torch operators with that package.
        signatures: the public functions, for the manifest.
        name: what messages and the manifest call the module; None is its symbol.
        stateful: whether calls change state, for the manifest; None is unknown, which loaders take
            for yes.
        preserves_inputs: whether functions leave the memory of their arguments alone, for the
            manifest: loaders may then pass it without a copy.
        diagnose: after a failure look for every operator that is to blame, which takes a while; the
            compiler itself names the first.
        parameters: gives the manifest's entries of the external parameters. It is called in a thread
            while the compiler works, because it may take a while: there are gigabytes to hash.

    Raises:
        CompileError: the compiler refused the module or the options, crashed, or took too long.
        SaveError: `save_to` cannot be written; an older file there is untouched.
    """
    path = None if save_to is None else Path(save_to)
    if path is not None:
        check_target(path)
    options = Options(
        target_backends=target_backends,
        target_cpu=target_cpu,
        target_cpu_features=target_cpu_features,
        target_triple=target_triple,
        flags=tuple(flags),
        timeout=timeout,
        strip_contracts=strip_contracts,
        lowering=lowering,
        signatures=signatures,
        name=name,
        stateful=stateful,
        preserves_inputs=preserves_inputs,
        diagnose=diagnose,
        parameters=parameters,
    )
    return build(inputs.load(module), options, *ask_target(options), path)


def ask_target(options: Options) -> tuple[Target, ResolvedTarget]:
    """Ask the compiler about the target of the options; it is asked once in a process.

    Raises:
        CompileError: the compiler does not know it.
    """
    target = make_target(
        options.target_backends,
        triple=options.target_triple,
        cpu=options.target_cpu,
        cpu_features=options.target_cpu_features,
    )
    return target, resolve(target, options.flags)


def build(
    module: Any, options: Options, target: Target, resolved: ResolvedTarget, path: Path | None
) -> Vmfb:
    """Compile an `ir.Module` for a target that the compiler knows; `compile` says the rest."""
    if options.lowering == "torch-mlir":
        module = lower_for_iree(module, timeout=options.timeout, name=options.name)
    elif options.lowering != "iree":
        raise CompileError(
            "there is no such lowering",
            stage="options",
            got=f"lowering={options.lowering!r}",
            expected="'iree' or 'torch-mlir'",
        )
    facts = inputs.facts(module)
    with new_file(path) as (output, publish), ThreadPoolExecutor(1) as pool:
        described = None if options.parameters is None else pool.submit(options.parameters)
        flags = compiler_flags(options, target, facts)
        _run_compiler(module, flags, options, output, options.name or facts.name)
        parameters = None if described is None else described.result()
        append_manifest(output, _manifest(options, resolved, facts, parameters))
        publish()
        return Vmfb.from_file(output, path)


def _manifest(
    options: Options,
    resolved: ResolvedTarget,
    facts: inputs.ModuleFacts,
    parameters: Sequence[dict[str, Any]] | None,
) -> dict[str, Any]:
    return make_manifest(
        producer=f"shark_turbine {__version__}",
        versions=producing_versions(),
        name=facts.name or options.name,
        target=resolved.to_json(),
        flags=options.flags,
        contracts_stripped=options.strip_contracts,
        signatures=options.signatures,
        stateful=options.stateful,
        preserves_inputs=options.preserves_inputs,
        parameters=parameters,
    )


def compiler_flags(options: Options, target: Target, facts: inputs.ModuleFacts) -> list[str]:
    """Return the compiler's options for a module; the user's replace ours of the same name."""
    ours = [
        *target.flags(),
        # Where a value, its name and its file came from: paths of this machine, not reproducible.
        "--iree-vm-bytecode-module-strip-source-map",
        # The default strips the contracts from -O1 on.
        f"--iree-opt-strip-assertions={str(options.strip_contracts).lower()}",
    ]
    if CPU_BACKEND in target.backends:
        # Half of the 128 KiB that the runtime's worker threads have; the default is a quarter.
        ours.append("--iree-llvmcpu-stack-allocation-limit=65536")
    if facts.needs_f64:
        # The default reads and writes f64 data as f32, without a word.
        ours.append("--iree-input-demote-f64-to-f32=false")
    return merge_flags(ours, options.flags)


def _run_compiler(
    module: Any, flags: Sequence[str], options: Options, output: IO[bytes], name: str | None
) -> None:
    # The compiler leaves its object files behind when it dies.
    with inputs.as_file(module) as source, TemporaryDirectory(prefix="shark_turbine-") as scratch:
        files = (source.fileno(), output.fileno())

        def run(command: Sequence[str]) -> ToolResult:
            return run_tool(command, keep_open=files, timeout=options.timeout, scratch=scratch)

        source_path, output_path = (f"/dev/fd/{descriptor}" for descriptor in files)
        is_large = os.fstat(files[0]).st_size >= LARGE_MODULE
        try:
            result = None
            if is_large:
                child = [sys.executable, "-I", large_child.__file__]
                result = run([*child, source_path, output_path, *flags])
            if result is None or result.status != 0:
                # It knows more options, and its diagnostics are what `failures` reads.
                result = run([find_tool("iree-compile"), *flags, source_path, "-o", output_path])
        except TimeoutError as error:
            raise failures.took_too_long(name, options.timeout) from error
    if result.status != 0:
        raise failures.explain(result, name, module if options.diagnose else None)


@cache
def producing_versions() -> dict[str, str]:
    """Return the versions of the packages that have a say in an artifact."""
    found = {}
    for package in ("torch", "iree-base-compiler"):
        try:
            found[package.replace("iree-base-", "iree_")] = version(package)
        except PackageNotFoundError:
            continue
    return found
