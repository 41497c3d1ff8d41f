# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`python -m benchmarks.peers` measures, compares and tells; a wrong or missing peer is not timed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.peers import cases, child, runtimes, scaling, table
from benchmarks.peers.measuring import Child, Settings

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> tuple[str, dict]:
    file = tmp_path_factory.mktemp("peers") / "found.json"
    command = [sys.executable, "-m", "benchmarks.peers", "--cases", "tiny", "--rounds", "2"]
    process = subprocess.run(
        [*command, "--peers", "eager", "ours", "--json", str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout, json.loads(file.read_text())


def test_one_command_measures_us_and_eager_in_turn(measured) -> None:
    _, saved = measured
    (case,) = saved["cases"]
    assert case["flops"] == 2 * 3 * (8 * 16 + 16 * 4)
    assert case["weight_bytes"] == 4 * (8 * 16 + 16 + 16 * 4 + 4)
    assert case["machine"]["flops_per_second"] > 1e9
    assert case["machine"]["bytes_per_second"] > 1e8
    eager, ours = case["peers"]["eager"], case["peers"]["ours"]
    for row in (eager, ours):
        assert row["state"] == "ready"
        assert row["calls"] >= 2
        assert 0 < row["min_seconds"] <= row["median_seconds"] < 1
        assert row["run_peak_bytes"] > 2**20
    assert eager["absolute_error"] == 0
    assert ours["relative_error"] < 1e-5
    assert ours["prepare_seconds"] > 0
    assert ours["prepare_peak_bytes"] > 2**20
    assert 1000 < ours["artifact_bytes"] < 1e6


def test_the_table_has_a_row_for_each_case_and_says_how_we_do(measured) -> None:
    text, saved = measured
    (row,) = [line for line in text.splitlines() if line.startswith("| MLP 8-16-4")]
    ratio = table.ratio(saved["cases"][0])
    assert ratio is not None
    assert f"| eager | {ratio:.2f} | - |" in row
    assert f"geometric mean {ratio:.2f}" in text


def test_a_wrong_result_is_shown_and_not_timed(tmp_path) -> None:
    with torch.no_grad():
        assert child.expect("tiny", tmp_path)["state"] == "ready"

        def load(folder, arguments, make, threads):
            model = make()
            return lambda: model(*arguments) + 0.01

        answers: list[dict] = []
        peer = runtimes.Peer("off", (), None, load)
        child.run("tiny", peer, tmp_path / "off", 2, answers.append)
    (answer,) = answers
    assert answer["state"] == "wrong"
    assert answer["absolute_error"] == pytest.approx(0.01, rel=1e-3)
    found = {"peers": {"eager": answer}}
    assert table.best_peer(found) is None
    assert table.milliseconds(answer) == "wrong"


def test_a_result_of_another_shape_or_not_a_number_is_wrong() -> None:
    expected = [torch.ones(2)]
    assert child.difference([torch.tensor([1.0, torch.nan])], expected)["absolute_error"] == float(
        "inf"
    )
    with pytest.raises(ValueError, match=r"results of shapes \[\(3,\)\]"):
        child.difference([torch.ones(3)], expected)


def test_a_peer_that_is_not_installed_is_said_to_be_missing(monkeypatch) -> None:
    peer = runtimes.Peer("?", ("torch", "no-such-runtime"), None, runtimes.PEERS["eager"].load)
    assert child.missing(peer) == ["no-such-runtime"]


def test_a_child_that_dies_is_a_failure_with_a_reason(tmp_path) -> None:
    settings = Settings(peers=["eager"], timeout=60, pythons={"eager": "/bin/false"})
    process = Child("run", "tiny", "eager", tmp_path, settings)
    assert process.ask() == {"state": "failed", "reason": "died: exit code 1"}
    process.stop()


@pytest.mark.parametrize(
    ("text", "message"),
    [("bret", "there is no case 'bret'"), ("bert:size=3", "bert has no 'size'; it has batch")],
)
def test_an_unknown_case_or_size_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cases.parse(text)


def test_the_goals_are_those_of_the_table() -> None:
    assert {name: cases.goal(name) for name in cases.GOALS} == {
        "mlp": 1.1,
        "mlp-1": 0.95,
        "bert": 1.0,
        "resnet": 1.15,
        "gpt2-decode": 0.8,
        "vit": 1.0,
        "mobilenet": 1.15,
        "lstm": 1.0,
    }
    assert cases.goal("bert:length=64") is None


def test_a_cliff_is_time_that_grows_faster_than_the_work() -> None:
    def at(flops: int, seconds: float) -> dict:
        return {
            "flops": flops,
            "peers": {"ours": {"state": "ready", "median_seconds": seconds}},
        }

    sweep = scaling.Sweep("?", "mlp:batch={}", (1, 2, 4))
    smooth = [at(10, 1.0), at(20, 2.0), at(40, 4.4)]
    assert scaling.steepest(sweep, smooth, "ours") == "2 → 4: 1.10"
    steep = [at(10, 1.0), at(20, 2.0), at(40, 8.0)]
    assert scaling.steepest(sweep, steep, "ours") == "2 → 4: 2.00 cliff"
