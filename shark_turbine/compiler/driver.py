# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`compile`: an MLIR module to a vmfb, through the compiler in a child process."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

from shark_turbine import __version__
from shark_turbine.errors import CompileError
from shark_turbine.files import check_target, new_file
from shark_turbine.signature import FunctionSignature, StateEntry

from . import failures, inputs, large_child, tiles
from .dispatch_map import (
    append_map,
    dispatch_map,
    dump_flags,
    dump_folder,
    dumped,
    takes_too_many_sizes,
)
from .facts import ModuleFacts, facts
from .marks import marked
from .options import (
    DEFAULT_TIMEOUT,
    DescribeParameters,
    Lowering,
    Options,
    ask_target,
    compiler_flags,
    expand,
    recipe_of,
)
from .recipes import Recipe, cautious
from .rewrites import rewrite
from .targets import CPU_BACKEND, ResolvedTarget, Target
from .tools import ToolResult, run_tool
from .torch_mlir import lower_for_iree
from .vmfb import Vmfb, append_manifest, make_manifest
from .watching import watched
from .worker import run_iree

log = logging.getLogger(__name__)

# From this size on a module is compiled by `large_child`, which starts slower and takes less memory.
LARGE_MODULE = 64 * 2**20

# What fails so fails by any recipe.
_NOT_OF_RECIPES = {"options", "target", "tools", "timeout"}


def compile(
    module: Any,
    *,
    save_to: str | PathLike[str] | None = None,
    target_backends: Sequence[str] = (CPU_BACKEND,),
    target_cpu: str | None = "host",
    target_cpu_features: str | None = None,
    target_triple: str | None = None,
    target: str | None = None,
    recipe: str | Recipe = "auto",
    flags: Sequence[str] = (),
    timeout: float | None = DEFAULT_TIMEOUT,
    strip_contracts: bool = False,
    lowering: Lowering = "iree",
    signatures: Sequence[FunctionSignature] = (),
    name: str | None = None,
    stateful: bool | None = None,
    state: Sequence[StateEntry] | None = None,
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
        target: a named target instead of the four above, such as `aarch64-linux` or `cuda:sm_90`.
        recipe: how to compile: `auto` chooses by what is in the module, `prepacked` also packs
            external weights when they are loaded, `size`, `debug`, `portable` (any machine of this
            architecture of the last ten years), `none`, or a `Recipe`.
        flags: more options of `iree-compile`; they replace the same options of ours.
        timeout: seconds until the compiler is killed; None waits for ever.
        strip_contracts: leave out the checks of shapes and ranges on entry of functions.
        lowering: `iree`, or `torch-mlir` to lower torch operators with that package.
        signatures: the public functions, for the manifest.
        name: what messages and the manifest call the module; None is its symbol.
        stateful: whether calls change state, for the manifest; None is unknown, which loaders take
            for yes.
        state: the mutable globals that the module has accessors for, for the manifest; None is
            unknown.
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
        target=target,
        recipe=recipe,
        flags=tuple(flags),
        timeout=timeout,
        strip_contracts=strip_contracts,
        lowering=lowering,
        signatures=signatures,
        name=name,
        stateful=stateful,
        state=state,
        preserves_inputs=preserves_inputs,
        diagnose=diagnose,
        parameters=parameters,
    )
    options = expand(options)
    return build(inputs.load(module), options, *ask_target(options), path)


def build(
    module: Any,
    options: Options,
    target: Target,
    resolved: ResolvedTarget,
    path: Path | None,
    found: ModuleFacts | None = None,
) -> Vmfb:
    """Compile an `ir.Module` for a target that the compiler knows; `compile` says the rest.

    `found` are the module's facts, where somebody has looked for them already.
    """
    if options.lowering == "torch-mlir":
        module, found = lower_for_iree(module, timeout=options.timeout, name=options.name), None
    elif options.lowering != "iree":
        raise CompileError(
            "there is no such lowering",
            stage="options",
            got=f"lowering={options.lowering!r}",
            expected="'iree' or 'torch-mlir'",
        )
    found = found or facts(module)
    recipe = recipe_of(options, target, found, resolved.cpu_features)
    with new_file(path) as (output, publish), ThreadPoolExecutor(1) as pool:
        described = None if options.parameters is None else pool.submit(options.parameters)
        recipe, printed = _run_recipe(module, options, target, found, recipe, output)
        dispatches = dispatch_map(printed, module, found.constant_bytes)
        parameters = None if described is None else described.result()
        append_manifest(output, _manifest(options, resolved, found.name, recipe, parameters))
        if dispatches is not None:
            append_map(output, dispatches)
        publish()
        return Vmfb.from_file(output, path)


def _manifest(
    options: Options,
    resolved: ResolvedTarget,
    name: str | None,
    recipe: Recipe,
    parameters: Sequence[dict[str, Any]] | None,
) -> dict[str, Any]:
    return make_manifest(
        producer=f"shark_turbine {__version__}",
        versions=producing_versions(),
        name=name or options.name,
        target=resolved.to_json(),
        recipe=recipe.to_json(),
        flags=options.flags,
        contracts_stripped=options.strip_contracts,
        signatures=options.signatures,
        stateful=options.stateful,
        state=options.state,
        preserves_inputs=options.preserves_inputs,
        parameters=parameters,
    )


def _run_recipe(
    module: Any,
    options: Options,
    target: Target,
    found: ModuleFacts,
    recipe: Recipe,
    output: IO[bytes],
) -> tuple[Recipe, str | None]:
    """Compile by a recipe, and where it is too daring by more cautious ones.

    Returns:
        The recipe that did, and what the compiler wrote about the module on its way.
    """
    name = options.name or found.name
    *daring, last = [recipe, *cautious(recipe)]
    for attempt in daring:
        try:
            # Who is to blame is asked only where no other recipe is left.
            patient = replace(options, diagnose=False)
            printed = _run(module, patient, target, found, attempt, output)
            if not takes_too_many_sizes(printed):
                return attempt, printed
        except CompileError as error:
            if error.stage in _NOT_OF_RECIPES:
                raise
        log.info("%s: does not compile with recipe %s", name, attempt)
        output.seek(0)
        output.truncate()
    return last, _run(module, options, target, found, last, output)


def _run(
    module: Any,
    options: Options,
    target: Target,
    found: ModuleFacts,
    recipe: Recipe,
    output: IO[bytes],
) -> str | None:
    flags = compiler_flags(options, target, found, recipe)
    name = options.name or found.name
    return _run_compiler(module, recipe, flags, options, output, name)


def _run_compiler(
    module: Any,
    recipe: Recipe,
    flags: Sequence[str],
    options: Options,
    output: IO[bytes],
    name: str | None,
) -> str | None:
    # The compiler leaves its object files behind when it dies.
    with (
        inputs.as_file(rewrite(marked(module), recipe.rewrites)) as source,
        TemporaryDirectory(prefix="shark_turbine-") as scratch,
    ):
        files = (source.fileno(), output.fileno())

        source_path, output_path = (f"/dev/fd/{descriptor}" for descriptor in files)
        written = dump_folder(scratch)
        flags = [*flags, *tiles.flags(recipe.tiles, scratch, flags), *dump_flags(written, flags)]
        is_large = os.fstat(files[0]).st_size >= LARGE_MODULE
        settings: dict[str, Any] = {
            "keep_open": files, "timeout": options.timeout, "scratch": scratch,
        }  # fmt: skip
        try:
            with watched(written):
                result = _run_child(is_large, source_path, output_path, flags, settings)
        except TimeoutError as error:
            raise failures.took_too_long(name, options.timeout) from error
        printed = dumped(written)
    if result.status != 0:
        raise failures.explain(result, name, module if options.diagnose else None)
    return printed


def _run_child(
    is_large: bool, source: str, output: str, flags: Sequence[str], settings: dict[str, Any]
) -> ToolResult:
    if is_large:
        child = [sys.executable, "-I", large_child.__file__]
        result = run_tool([*child, source, output, *flags], **settings)
        if result.status == 0:
            return result
    # It knows more options, and its diagnostics are what `failures` reads.
    return run_iree("iree-compile", [*flags, source, "-o", output], **settings)


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
