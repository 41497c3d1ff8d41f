# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Profiles of functions that call compiled code: `torch.compile`, and the user's own."""

import json
import time

import pytest
import torch

import shark_turbine
import shark_turbine.aot as aot
import shark_turbine.runtime as runtime

from .models import Transformer, line_of


@pytest.fixture(autouse=True)
def _fresh_dynamo():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def test_a_compiled_module():
    model = Transformer().eval()
    compiled = torch.compile(model, backend="turbine_cpu")
    x = torch.randn(5, 32)
    with torch.no_grad():
        profile = shark_turbine.profile(compiled, (x,), runs=3)
        torch.testing.assert_close(compiled(x), model(x))
    (row,) = [row for row in profile.rows if row.module_path == "layers.1.up"]
    assert str(row.location).endswith(f"models.py:{line_of('up')}")
    assert 0 <= row.flops - 2 * 5 * 32 * 96 <= 5 * 96
    kinds = [row.kind for row in profile.rows]
    assert kinds.count("eager") == kinds.count("outside") == 1
    assert sum(row.share for row in profile.rows) == pytest.approx(1)


def test_gradients_count_for_the_modules_that_they_are_of():
    model = torch.nn.Sequential(torch.nn.Linear(16, 8), torch.nn.Tanh(), torch.nn.Linear(8, 4))
    compiled = torch.compile(model, backend="turbine_cpu")

    def step(x):
        compiled(x).sum().backward()

    profile = shark_turbine.profile(step, torch.randn(3, 16), runs=2)
    functions = {row.function for row in profile.rows if row.kind == "dispatch"}
    assert len(functions) == 2
    for name in ("0", "2"):
        owned = {row.function for row in profile.rows if row.module_path == name}
        assert owned == functions, str(profile)


def test_eager_time_between_calls_of_a_loaded_function(tmp_path):
    module = runtime.load(aot.export(torch.nn.Linear(8, 8), torch.ones(2, 8)).compile())

    def twice(x):
        y = module.main(x)
        time.sleep(0.02)
        return module.main(y)

    profile = shark_turbine.profile(twice, torch.ones(2, 8), runs=3)
    (eager,) = [row for row in profile.rows if row.kind == "eager"]
    assert eager.seconds >= 0.02
    (product,) = [row for row in profile.rows if row.dtype == "f32"]
    assert product.calls == 2
    assert product.flops == 2 * (2 * 2 * 8 * 8 + 2 * 8)
    profile.save_trace(tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    first, second = [event for event in events if event.get("cat") == "calls"]
    assert second["ts"] - first["ts"] >= 20_000
