# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`doctor` and `targets`: on this machine, and on one where things are wrong."""

import json
import os
import subprocess

import pytest

from shark_turbine import cache_folder, cli, compiler, versions
from shark_turbine.cli import checks
from shark_turbine.cli.finding import OK, PROBLEM, WARNING


def test_the_doctor_finds_this_machine_well(call_json, call):
    code, told = call_json("doctor")
    found = {finding["about"]: finding for finding in told["findings"]}
    assert [each for each in told["findings"] if each["verdict"] == PROBLEM] == []
    assert (code, told["ok"]) == (0, True)
    assert "runs it with the right result" in found["runtime"]["said"]
    assert "compiles a small program for this CPU" in found["compiler"]["said"]
    assert "local-task" in found["devices"]["said"]
    assert "logical cores usable" in found["cpu"]["said"]
    assert "SHARK_TURBINE_CACHE_DIR=" in found["environment"]["said"]


@pytest.fixture
def no_smoke(monkeypatch):
    """The self-test is another test's."""
    monkeypatch.setattr(checks, "_smoke", lambda: iter(()))


def by_name():
    return {finding.about: finding for finding in checks.findings()}


def test_problems_are_told_with_what_mends_them(monkeypatch, capsys, no_smoke):
    real = versions.installed
    monkeypatch.setattr(
        versions,
        "installed",
        lambda name: {"torch": "2.9.0", "iree-runtime": "1"}.get(name, real(name)),
    )
    assert cli.main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "problem" in out
    assert "2.9.0 is not supported (>=2.13,<2.14 is)" in out
    assert "torch: python -m pip install 'torch>=2.13,<2.14'" in out
    assert "iree-runtime: python -m pip uninstall iree-runtime;" in out
    monkeypatch.setattr(versions, "installed", lambda name: None if name == "rich" else real(name))
    needed = ["rich>=13.9", "numpy>=2.0", "no-such-thing; extra == 'test'"]
    monkeypatch.setattr(checks.importlib.metadata, "requires", lambda name: needed)
    found = by_name()
    assert "numpy" not in found
    assert found["rich"].said == "not installed (>=13.9 is needed)"


def test_the_cache_is_looked_at(monkeypatch, tmp_path, no_smoke):
    monkeypatch.setenv("SHARK_TURBINE_CACHE_DIR", str(tmp_path / "new"))
    monkeypatch.setenv("SHARK_TURBINE_CACHE_SIZE", "1MiB")
    finding = by_name()["cache"]
    assert finding.verdict == OK
    assert f"{tmp_path / 'new'}, 0 vmfbs, 0 B of at most 1.0 MiB" in finding.said
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SHARK_TURBINE_CACHE_DIR", str(tmp_path / "file" / "new"))
    assert (by_name()["cache"].verdict, cache_folder.size_limit()) == (WARNING, 2**20)
    monkeypatch.setenv("SHARK_TURBINE_CACHE", "0")
    assert by_name()["cache"].said.startswith("off")


def test_a_misspelt_variable_is_found(monkeypatch, no_smoke):
    monkeypatch.setenv("SHARK_TURBINE_CACHEDIR", "/x")
    (finding,) = (each for each in checks.findings() if each.verdict == WARNING)
    assert finding.said == "SHARK_TURBINE_CACHEDIR=/x means nothing"
    assert finding.fix == "did you mean SHARK_TURBINE_CACHE_DIR?"


def test_a_child_that_dies_is_a_finding(monkeypatch):
    told = json.dumps({"verdict": OK, "about": "import torch", "said": "2.13", "fix": None})
    died = subprocess.CompletedProcess(
        [], -4, f"{told}\n", "Fatal Python error: Illegal instruction\n"
    )
    monkeypatch.setattr(checks.subprocess, "run", lambda *_, **__: died)
    first, last = checks._smoke()
    assert (first.about, last.verdict) == ("import torch", PROBLEM)
    assert last.said == (
        "it ended with signal 4 after import torch: Fatal Python error: Illegal instruction"
    )


def test_a_torch_that_does_not_import_is_one_problem(monkeypatch, tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('undefined symbol: foo')")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path)
    (finding,) = checks._smoke()
    assert (finding.verdict, finding.about) == (PROBLEM, "import torch")
    assert finding.said == "ImportError: undefined symbol: foo"
    assert "pip install --force-reinstall 'torch" in str(finding.fix)


def test_targets_are_listed_with_what_compiles_here(call_json, call):
    code, told = call_json("targets")
    assert (code, [entry["name"] for entry in told]) == (0, list(compiler.MACHINES))
    compiles = {entry["name"]: entry["compiles"] for entry in told}
    assert compiles["host"]
    assert compiles["aarch64-linux"]
    assert all(entry["compiles"] or entry["refusal"] for entry in told)
    _, out, _ = call("targets")
    assert out.splitlines()[0].split() == ["target", "compiles", "here", "backend", "cpu", "for"]
    assert any(line.split()[:3] == ["host", "yes", "llvm-cpu"] for line in out.splitlines())


def test_a_target_that_the_compiler_lacks_says_why(call_json, monkeypatch):
    machine = compiler.Machine("tpu", note="none of ours")
    monkeypatch.setattr(compiler, "MACHINES", {"tpu": machine})
    _, (entry,) = call_json("targets")
    assert (entry["compiles"], entry["refusal"]) == (
        False,
        "the compiler knows no target backend 'tpu'",
    )
