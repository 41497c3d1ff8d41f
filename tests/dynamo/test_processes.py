# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Threads, processes, the cache on disk, and the end of the interpreter."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import textwrap
import threading

import pytest
import torch
from torch import nn

from shark_turbine import compiler
from shark_turbine.dynamo import explain

from .conftest import compiled, same


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program as a user does; a failure shows what it said."""
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, **environment},
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result


TRAINS = """
    import torch
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2))
    compiled = torch.compile(model, backend="turbine_cpu")
    compiled(torch.randn(4, 8)).square().sum().backward()
    print(model[0].weight.grad.norm().item())
"""


def test_a_second_process_compiles_nothing(tmp_path):
    first = run(TRAINS, SHARK_TURBINE_CACHE_DIR=str(tmp_path))
    without_tools = """
    import shark_turbine.compiler.driver, shark_turbine.compiler.targets
    def no_process(*arguments, **keywords):
        raise AssertionError("a process was started")
    for module in ("driver", "targets"):
        getattr(shark_turbine.compiler, module).run_iree = no_process
    """
    second = run(without_tools + TRAINS, SHARK_TURBINE_CACHE_DIR=str(tmp_path))
    assert second.stdout == first.stdout
    assert second.stderr == ""


def test_a_damaged_entry_is_compiled_again(tmp_path):
    run(TRAINS, SHARK_TURBINE_CACHE_DIR=str(tmp_path))
    entries = sorted((tmp_path / "vmfb").glob("*.vmfb"))
    assert len(entries) == 2
    for entry in entries:
        data = bytearray(entry.read_bytes())
        data[len(data) // 2] ^= 1
        entry.write_bytes(data)
    result = run(TRAINS, SHARK_TURBINE_CACHE_DIR=str(tmp_path))
    assert result.stderr.count(".vmfb is damaged") == len(entries)
    assert run(TRAINS, SHARK_TURBINE_CACHE_DIR=str(tmp_path)).stderr == ""


def test_processes_at_once_share_the_cache(tmp_path):
    environment = {**os.environ, "SHARK_TURBINE_CACHE_DIR": str(tmp_path)}
    children = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(TRAINS)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for _ in range(3)
    ]
    said = [child.communicate(timeout=240) for child in children]
    assert [child.returncode for child in children] == [0, 0, 0], said
    assert len({out for out, _ in said}) == 1
    assert len(list((tmp_path / "vmfb").glob("*.vmfb"))) == 2


def test_the_cache_can_be_off(tmp_path):
    run(TRAINS, SHARK_TURBINE_CACHE_DIR=str(tmp_path), SHARK_TURBINE_CACHE="0")
    assert not list(tmp_path.rglob("*.vmfb"))


def test_the_option_goes_past_the_cache(monkeypatch):
    monkeypatch.setattr(compiler, "compile_cached", None)
    x = torch.randn(3)
    same(compiled(lambda x: x * 3 - 1, options={"cache": False})(x), x * 3 - 1)


# ------------------------------------------------------------------------------------------- threads --


@pytest.mark.parametrize("threads", [None, 1, 2])
def test_threads_call_one_compiled_model(threads):
    model = nn.Sequential(nn.Linear(64, 128), nn.GELU(), nn.Linear(128, 8)).eval()
    wrapped = compiled(model, options={"threads": threads})
    inputs = [torch.randn(32, 64) for _ in range(6)]
    with torch.no_grad():
        expected = [model(x) for x in inputs]
        wrapped(inputs[0])
    failures = []

    def work(place):
        try:
            with torch.no_grad():
                for _ in range(40):
                    torch.testing.assert_close(wrapped(inputs[place]), expected[place])
        except BaseException as error:
            failures.append(error)

    workers = [threading.Thread(target=work, args=(place,)) for place in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failures


def test_threads_train_models_of_their_own():
    failures = []

    def work(seed):
        try:
            x = torch.randn(4, 6, generator=torch.Generator().manual_seed(seed))
            weight = torch.ones(6, 2, requires_grad=True)
            wrapped(x, weight).backward()
            torch.testing.assert_close(weight.grad, x.sum(0)[:, None].expand(6, 2) * 2)
        except BaseException as error:
            failures.append(error)

    wrapped = compiled(lambda x, w: (x @ w).sum() * 2)
    work(0)
    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(1, 6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failures


def test_large_graphs_use_all_cores_and_small_ones_the_calling_thread():
    small = explain(lambda x: x + 1)(torch.randn(4))
    large = explain(lambda x: x @ x)(torch.randn(600, 600))
    assert small.graphs[0].pieces[0].device == "local-sync"
    assert large.graphs[0].pieces[0].device == "local-task"
    two = explain(lambda x: x @ x, options={"threads": 2})(torch.randn(600, 600))
    assert two.graphs[0].pieces[0].device == "local-task?threads=2"


# ----------------------------------------------------------------------------------------- processes --


def test_a_fork_gets_a_clear_error_not_a_hang():
    result = run("""
        import os, torch
        model = torch.nn.Linear(600, 600)
        compiled = torch.compile(model, backend="turbine_cpu")
        x = torch.randn(600, 600)
        with torch.no_grad():
            compiled(x)
            pid = os.fork()
            if pid == 0:
                try:
                    compiled(x)
                except Exception as error:
                    print("child:", error, flush=True)
                os._exit(7)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
            print(torch.allclose(compiled(x), model(x), atol=1e-4))
        """)
    assert "forked" in result.stdout
    assert "spawn" in result.stdout
    assert result.stdout.endswith("True\n")


def test_a_data_loader_with_workers_feeds_a_compiled_model():
    result = run("""
        import torch
        from torch.utils.data import DataLoader, TensorDataset
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(64, 512), torch.nn.ReLU(), torch.nn.Linear(512, 1))
        compiled = torch.compile(model, backend="turbine_cpu")
        data = TensorDataset(torch.randn(96, 64), torch.randn(96, 1))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        for epoch in range(2):
            for x, y in DataLoader(data, batch_size=32, num_workers=2):
                optimizer.zero_grad()
                torch.nn.functional.mse_loss(compiled(x), y).backward()
                optimizer.step()
        print("done")
        """)
    assert result.stdout == "done\n"


def test_the_interpreter_ends_quietly():
    result = run("""
        import threading, time, torch
        compiled = torch.compile(lambda x: (x @ x).relu(), backend="turbine_cpu")
        x = torch.randn(300, 300)
        compiled(x)
        def forever():
            while True:
                compiled(x)
        threading.Thread(target=forever, daemon=True).start()
        time.sleep(0.3)
        print("end")
        """)
    assert result.stdout == "end\n"
    assert result.stderr == ""


def test_distributed_training_on_two_processes(tmp_path):
    """Gradients are averaged over two processes: those of one process with both batches."""
    script = tmp_path / "train.py"
    script.write_text(
        textwrap.dedent("""
        import logging, sys, torch
        import torch.distributed as dist
        from torch import nn
        from torch.nn.parallel import DistributedDataParallel

        class Network(nn.Module):
            def __init__(self):
                super().__init__()
                self.first, self.second, self.third = nn.Linear(12, 64), nn.Linear(64, 64), nn.Linear(64, 3)

            def forward(self, x):
                return self.third(self.second(self.first(x).relu()).tanh())

        def build():
            torch.manual_seed(0)
            return Network()

        compiled_graphs = []
        handler = logging.Handler()
        handler.emit = lambda record: compiled_graphs.append(record.getMessage().split(":")[0])
        logging.getLogger("shark_turbine.dynamo").addHandler(handler)
        logging.getLogger("shark_turbine.dynamo").setLevel(logging.INFO)

        rank = int(sys.argv[1])
        dist.init_process_group("gloo", init_method=f"file://{sys.argv[2]}", rank=rank, world_size=2)
        data = torch.randn(3, 2, 8, 12, generator=torch.Generator().manual_seed(1))
        model, alone = build(), build()
        compiled = torch.compile(DistributedDataParallel(model), backend="turbine_cpu")
        optimizers = [torch.optim.SGD(each.parameters(), lr=0.1) for each in (model, alone)]
        for step in range(3):
            for optimizer in optimizers:
                optimizer.zero_grad()
            compiled(data[step, rank]).square().mean().backward()
            alone(data[step].flatten(0, 1)).square().mean().backward()
            for left, right in zip(model.parameters(), alone.parameters(), strict=True):
                torch.testing.assert_close(left.grad, right.grad, rtol=1e-4, atol=1e-6)
            for optimizer in optimizers:
                optimizer.step()
        dist.barrier()
        dist.destroy_process_group()
        assert {"forward graph", "backward graph"} <= set(compiled_graphs), compiled_graphs
        print("equal")
        """)
    )
    children = [
        subprocess.Popen(
            [sys.executable, str(script), str(rank), str(tmp_path / "meeting")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "GLOO_SOCKET_IFNAME": "lo"},
        )
        for rank in range(2)
    ]
    said = [child.communicate(timeout=280) for child in children]
    assert [child.returncode for child in children] == [0, 0], said
    assert [out for out, _ in said] == ["equal\n", "equal\n"]


# --------------------------------------------------------------------------------------------- words --


def test_logging(caplog):
    with caplog.at_level(logging.INFO, logger="shark_turbine.dynamo"):
        compiled(lambda x: x.exp() - 1)(torch.randn(3))
    assert "inference graph: 2 operators compiled in 1 piece" in caplog.text


def test_torch_logs():
    result = run(
        """
        import torch
        torch.compile(lambda x: x.exp() - 1, backend="turbine_cpu")(torch.randn(3))
        """,
        TORCH_LOGS="+shark_turbine.dynamo",
    )
    assert "operators compiled in 1 piece" in result.stderr
