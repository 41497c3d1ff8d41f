# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Profiles of artifacts: what is measured, and what it is mapped back to."""

import json
import re
import shutil
from html.parser import HTMLParser
from itertools import pairwise

import pytest
import torch

import shark_turbine
import shark_turbine.aot as aot
import shark_turbine.runtime as runtime
from shark_turbine.errors import ArgumentError, LoadError, ParameterError

from .models import Transformer, line_of

TOKENS, WIDTH = 5, 32


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return Transformer(WIDTH).eval()


@pytest.fixture(scope="module")
def x():
    return torch.randn(TOKENS, WIDTH)


@pytest.fixture(scope="module")
def path(model, x, tmp_path_factory):
    path = tmp_path_factory.mktemp("profile") / "model.vmfb"
    aot.export(model, x).compile(save_to=path)
    return path


@pytest.fixture(scope="module")
def profile(path, x):
    return shark_turbine.profile(path, (x,), device="local-sync", runs=5)


def test_rows_add_up_to_the_whole(profile):
    assert profile.seconds == pytest.approx(sum(row.seconds for row in profile.rows))
    assert sum(row.share for row in profile.rows) == pytest.approx(1)
    assert all(row.seconds >= 0 and row.calls == 1 for row in profile.rows)
    assert [row.seconds for row in profile.rows] == sorted(
        (row.seconds for row in profile.rows), reverse=True
    )
    run = max(event.start + event.seconds for event in profile.timeline)
    assert profile.seconds < 10 * run


# (inputs, outputs) of each Linear.
SIZES = {
    **{f"attention.{name}": (WIDTH, WIDTH) for name in ("query", "key", "value")},
    "up": (WIDTH, 3 * WIDTH),
    "down": (3 * WIDTH, WIDTH),
}


@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("name", SIZES)
def test_each_linear_has_a_row_with_its_line_and_its_arithmetic(profile, layer, name):
    path = f"layers.{layer}.{name}"
    rows = [row for row in profile.rows if row.module_path == path and row.dtype == "f32"]
    assert len(rows) == 1, str(profile)
    (row,) = rows
    assert str(row.location).endswith(f"models.py:{line_of(name.rpartition('.')[2])}")
    inputs, outputs = SIZES[name]
    product = 2 * TOKENS * inputs * outputs
    # What is fused into it computes once for each element of the result.
    assert 0 <= row.flops - product <= 2 * TOKENS * outputs
    if name.startswith("attention."):
        assert row.flops == product
    least = 4 * (TOKENS * inputs + inputs * outputs + TOKENS * outputs)
    assert least <= row.nbytes <= least + 4 * TOKENS * outputs
    assert row.gflops == pytest.approx(row.flops / row.seconds / 1e9)
    assert row.bound in {"compute", "memory"}
    assert row.of_peak > 0


def test_the_head_is_one_exact_matrix_product(profile):
    (row,) = [row for row in profile.rows if row.module_path == "head"]
    assert row.flops == 2 * TOKENS * WIDTH * 7
    assert row.nbytes == 4 * (TOKENS * WIDTH + WIDTH * 7 + TOKENS * 7)
    assert row.location.line == line_of("head")


def test_files_are_named_as_they_are_imported(profile):
    files = {row.location.file for row in profile.rows if row.location is not None}
    assert files
    assert not [file for file in files if file.startswith("/")]


def test_modules_are_a_tree_of_the_same_time(profile):
    tree = profile.by_module()
    assert tree.seconds == pytest.approx(profile.seconds)
    for module in tree:
        inside = sum(child.seconds for child in module.children)
        assert module.seconds == pytest.approx(inside + module.own_seconds)
    first = tree["layers.0"]
    assert {child.name for child in first.children} >= {"attention", "up", "down"}
    assert first.seconds == pytest.approx(
        sum(row.seconds for row in profile.rows if (row.module_path or "").startswith("layers.0"))
    )
    assert "attention" in str(tree)
    with pytest.raises(KeyError):
        tree["layers.9"]


def test_text_shows_the_slowest_and_sums_up_the_rest(profile):
    assert len(profile.table(3).splitlines()) == 2 + 3 + 1
    assert f"{len(profile.rows) - 3} more" in profile.table(3)
    assert len(profile.table().splitlines()) == 2 + len(profile.rows)
    assert "layers.0.up" in str(profile)
    assert "local-sync" in str(profile)


def test_memory_counts_weights_and_transients(profile, model, x):
    weights = sum(parameter.nbytes for parameter in model.parameters())
    assert weights <= profile.memory.weights < 1.3 * weights
    # At least the result.
    assert 4 * TOKENS * 7 <= profile.memory.transients < 2**20
    assert profile.memory.peak >= profile.memory.transients


def test_json_holds_every_row(profile):
    data = json.loads(json.dumps(profile.to_json()))
    assert len(data["rows"]) == len(profile.rows)
    assert data["seconds"] == pytest.approx(sum(row["seconds"] for row in data["rows"]))
    assert data["peaks"]["gflops"]["f32"] > 0


class Page(HTMLParser):
    """The cells of a page's table, and what it would load."""

    def __init__(self):
        super().__init__()
        self.rows, self.loads, self.open, self.in_cell = [], [], [], False

    def handle_starttag(self, tag, attrs):
        self.loads += [value for name, value in attrs if name in {"src", "href"}]
        if tag == "tr":
            self.rows.append([])
        self.in_cell = tag == "td"
        if self.in_cell:
            self.rows[-1].append("")
        if tag not in {"meta", "input"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        self.in_cell = False

    def handle_data(self, data):
        if self.in_cell:
            self.rows[-1][-1] += data


def test_the_page_is_whole_and_holds_every_row(profile, tmp_path):
    profile.save_html(tmp_path / "profile.html")
    text = (tmp_path / "profile.html").read_text()
    page = Page()
    page.feed(text)
    page.close()
    assert page.open == []
    assert page.loads == []
    shown = [cells for cells in page.rows if cells]
    assert [cells[-1] for cells in shown] == [row.name for row in profile.rows]
    assert "{{" not in re.sub(r"<script>.*</script>", "", text, flags=re.DOTALL)
    embedded = re.search(r'<script type="application/json" id="data">(.*?)</script>', text)
    assert embedded is not None
    assert json.loads(embedded[1])["rows"] == profile.to_json()["rows"]


def test_the_trace_has_the_fields_of_chrome(profile, tmp_path):
    profile.save_trace(tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    complete = [event for event in events if event["ph"] == "X"]
    dispatches = [event for event in complete if event["cat"] == "dispatches"]
    assert len(dispatches) == len([row for row in profile.rows if row.kind == "dispatch"])
    assert all({"name", "ts", "dur", "pid", "tid"} <= event.keys() for event in complete)
    # One thread: a dispatch begins when the one before has ended.
    for before, after in pairwise(dispatches):
        assert after["ts"] >= before["ts"] + before["dur"] - 1e-3
    names = {event["args"]["name"] for event in events if event["ph"] == "M"}
    assert {"main", "dispatches", "queue"} <= names
    assert any(event["ph"] == "C" and event["args"]["bytes"] > 0 for event in events)


def test_a_loaded_module_is_profiled_where_it_is(path, x):
    module = runtime.load(path, device="local-task?threads=1")
    profile = shark_turbine.profile(module, x, runs=2)
    assert profile.device == "local-task?threads=1"
    assert profile.peaks.threads == 1
    assert {row.module_path for row in profile.rows} >= {"layers.0.up", "layers.1.attention.query"}
    again = shark_turbine.profile(module.main, (x,), runs=2, device="local-sync")
    assert {row.kernel for row in again.rows} == {row.kernel for row in profile.rows}


def test_the_lines_are_those_of_the_program_at_hand(x, tmp_path, monkeypatch):
    """An equal program from other lines hits the cache, and says its own lines."""
    source = (
        "import torch\n\n\nclass Moved(torch.nn.Module):\n    def __init__(self):\n"
        "        super().__init__()\n        self.linear = torch.nn.Linear(32, 9)\n\n"
        "    def forward(self, x):\n{}        return self.linear(x)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    lines = []
    for name, blank in (("first_place", ""), ("second_place", "\n\n\n")):
        (tmp_path / f"{name}.py").write_text(source.format(blank))
        torch.manual_seed(0)
        module = __import__(name).Moved().eval()
        vmfb = aot.export(module, x).compile()
        rows = shark_turbine.profile(vmfb, (x,), device="local-sync", runs=1).rows
        lines += [str(row.location) for row in rows if row.module_path == "linear"]
    assert lines == ["first_place.py:10", "second_place.py:13"]


def test_external_weights_of_any_dtype(tmp_path):
    torch.manual_seed(0)

    class Mixed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(16, 8, bias=False).to(torch.bfloat16)

        def forward(self, x, mask, scale: int):
            y = self.linear(x).float()
            return torch.where(mask, y, 0.0) * scale

    model = Mixed().eval()
    args = (torch.randn(4, 16, dtype=torch.bfloat16), torch.rand(4, 8) > 0.5)
    output = aot.export(model, *args, 3, weights="external")
    vmfb = output.compile()
    output.save_parameters(tmp_path / "weights.safetensors")
    profile = shark_turbine.profile(
        vmfb, args, {"scale": 3}, parameters=tmp_path / "weights.safetensors", runs=2
    )
    assert [row for row in profile.rows if row.module_path == "linear"]
    assert profile.memory.weights >= model.linear.weight.nbytes
    with pytest.raises(ParameterError, match="needs parameters"):
        shark_turbine.profile(vmfb, args, {"scale": 3})


def test_a_loop_counts_every_dispatch(x):
    class Loop(aot.CompiledModule):
        def main(self, a=aot.AbstractTensor(4, 4), n=aot.AbstractI32):
            return aot.fori_loop(0, n, self.step, a)

        @aot.jittable
        def step(i, a):
            return a @ a * 0.5 + 1

    vmfb = aot.export(Loop).compile()
    profile = shark_turbine.profile(vmfb, (torch.eye(4), 6), device="local-sync", runs=3)
    products = [row for row in profile.rows if row.dtype == "f32"]
    assert sum(row.calls for row in products) == 6


# ---------------------------------------------------------------------------------------- mistakes --


def test_wrong_arguments_are_the_errors_of_a_call(path, x):
    with pytest.raises(ArgumentError, match="f32"):
        shark_turbine.profile(path, (x.double(),))
    with pytest.raises(ArgumentError, match="missing argument"):
        shark_turbine.profile(path)
    with pytest.raises(ArgumentError, match="positional"):
        shark_turbine.profile(path, (x, x))


def test_a_function_that_is_not_there(path, x):
    with pytest.raises(LoadError, match=r"no function 'mian'(.|\n)*one of main"):
        shark_turbine.profile(path, (x,), function="mian")


def test_an_artifact_for_another_machine(model, x):
    vmfb = aot.export(torch.nn.Linear(4, 4), torch.ones(1, 4)).compile(target="aarch64-linux")
    with pytest.raises(LoadError, match="another kind of machine"):
        shark_turbine.profile(vmfb, (torch.ones(1, 4),))


def test_what_cannot_be_profiled(x):
    with pytest.raises(ArgumentError, match=r"compile it first"):
        shark_turbine.profile(aot.export(torch.nn.ReLU(), x), (x,))
    with pytest.raises(ArgumentError, match="no compiled code ran"):
        shark_turbine.profile(torch.nn.ReLU(), (x,))
    with pytest.raises(ArgumentError, match="runs=0"):
        shark_turbine.profile("model.vmfb", (x,), runs=0)


def test_a_damaged_file(path, x, tmp_path):
    damaged = tmp_path / "damaged.vmfb"
    shutil.copy(path, damaged)
    with damaged.open("r+b") as file:
        file.truncate(damaged.stat().st_size // 2)
    with pytest.raises(LoadError, match="damaged"):
        shark_turbine.profile(damaged, (x,))
