# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Who is measured: how each peer prepares an artifact, and how it loads and calls it.

Each is used as its own documentation says, with f32 and the number of threads that is asked for.
Imports stand inside of functions: one process imports one peer, and a peer may be missing.
"""

# ruff: noqa: PLC0415

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

Arguments = tuple[torch.Tensor, ...]
Call = Callable[[], Any]
Make = Callable[[], torch.nn.Module]


@dataclass(frozen=True, slots=True)
class Peer:
    """One runtime.

    Args:
        title: what the table calls it.
        distributions: what must be installed for it; the versions are noted.
        prepare: writes an artifact into a folder; None where the process that runs compiles.
        load: returns what calls the artifact of a folder, or the model that is made.
        is_ours: whether it is us, and no peer.
    """

    title: str
    distributions: tuple[str, ...]
    prepare: Callable[[torch.nn.Module, Arguments, Path, int], None] | None
    load: Callable[[Path, Arguments, Make, int], Call]
    is_ours: bool = False


def _load_eager(_: Path, arguments: Arguments, make: Make, __: int) -> Call:
    model = make()
    return lambda: model(*arguments)


def _load_inductor(_: Path, arguments: Arguments, make: Make, __: int) -> Call:
    compiled = torch.compile(make())
    return lambda: compiled(*arguments)


def _prepare_aoti(model: torch.nn.Module, arguments: Arguments, folder: Path, _: int) -> None:
    import torch._inductor

    program = torch.export.export(model, arguments)
    torch._inductor.aoti_compile_and_package(program, package_path=str(folder / "model.pt2"))


def _load_aoti(folder: Path, arguments: Arguments, _: Make, __: int) -> Call:
    import torch._inductor

    loaded = torch._inductor.aoti_load_package(str(folder / "model.pt2"))
    return lambda: loaded(*arguments)


def _prepare_onnx(model: torch.nn.Module, arguments: Arguments, folder: Path, _: int) -> None:
    program = torch.onnx.export(model, arguments, dynamo=True, verbose=False)
    assert program is not None
    program.save(str(folder / "model.onnx"))


def _load_onnx(folder: Path, arguments: Arguments, _: Make, threads: int) -> Call:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        folder / "model.onnx", options, providers=["CPUExecutionProvider"]
    )
    names = [each.name for each in session.get_inputs()]
    feeds = {name: each.numpy() for name, each in zip(names, arguments, strict=True)}
    return lambda: session.run(None, feeds)


def _prepare_openvino(model: torch.nn.Module, arguments: Arguments, folder: Path, _: int) -> None:
    import openvino

    # Without the shapes its model is for any, and slower.
    shapes = [tuple(each.shape) for each in arguments]
    try:
        converted = openvino.convert_model(model, example_input=arguments, input=shapes)
    except Exception:
        # Its tracer is the way that it documents first; it also reads what torch.export gives.
        converted = openvino.convert_model(torch.export.export(model, arguments))
    # It would store weights in f16 otherwise.
    openvino.save_model(converted, folder / "model.xml", compress_to_fp16=False)


def _load_openvino(folder: Path, arguments: Arguments, _: Make, threads: int) -> Call:
    import openvino

    compiled = openvino.Core().compile_model(
        folder / "model.xml",
        "CPU",
        {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
        },
    )
    request = compiled.create_infer_request()
    feeds = dict(enumerate(each.numpy() for each in arguments))
    return lambda: list(request.infer(feeds, share_inputs=True).values())


def _prepare_iree_turbine(
    model: torch.nn.Module, arguments: Arguments, folder: Path, _: int
) -> None:
    from iree.turbine import aot

    aot.export(model, *arguments).compile(save_to=folder / "model.vmfb")


def _load_iree_turbine(folder: Path, arguments: Arguments, _: Make, __: int) -> Call:
    import iree.runtime

    config = iree.runtime.Config("local-task")
    vmfb = iree.runtime.VmModule.mmap(config.vm_instance, str(folder / "model.vmfb"))
    main = iree.runtime.load_vm_module(vmfb, config).main
    given = [each.numpy() for each in arguments]

    def call() -> Any:
        results = main(*given)
        results = results if isinstance(results, list | tuple) else [results]
        return [each.to_host() for each in results]

    return call


def _prepare_ours(model: torch.nn.Module, arguments: Arguments, folder: Path, _: int) -> None:
    from shark_turbine import aot

    aot.export(model, *arguments).compile(save_to=folder / "model.vmfb", cache=False)


def _load_ours(folder: Path, arguments: Arguments, _: Make, threads: int) -> Call:
    from shark_turbine import runtime

    # The parent gives this process as many cores as threads: the default is one for each.
    main = runtime.load(folder / "model.vmfb").main
    return lambda: main(*arguments)


def _load_ours_jit(_: Path, arguments: Arguments, make: Make, __: int) -> Call:
    from shark_turbine.dynamo import turbine_cpu

    # Not by name: where iree-turbine is installed as well, its backend of the same name may be found.
    compiled = torch.compile(make(), backend=turbine_cpu, options={"freeze": True})
    return lambda: compiled(*arguments)


PEERS: dict[str, Peer] = {
    "eager": Peer("eager", ("torch",), None, _load_eager),
    "inductor": Peer("inductor", ("torch",), None, _load_inductor),
    "aoti": Peer("AOTInductor", ("torch",), _prepare_aoti, _load_aoti),
    "ort": Peer("ONNX Runtime", ("onnxruntime", "onnx", "onnxscript"), _prepare_onnx, _load_onnx),
    "openvino": Peer("OpenVINO", ("openvino",), _prepare_openvino, _load_openvino),
    "iree-turbine": Peer(
        "iree-turbine", ("iree-turbine",), _prepare_iree_turbine, _load_iree_turbine
    ),
    "ours": Peer("ours", ("shark-turbine",), _prepare_ours, _load_ours, is_ours=True),
    "ours-jit": Peer("ours, JIT frozen", ("shark-turbine",), None, _load_ours_jit, is_ours=True),
}
