# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What needs neither torch nor IREE: versions, inspect, help, completion, mistakes of usage."""

import json
import os
import subprocess
import sys
import zipfile

import pytest

import shark_turbine
from shark_turbine import cli, versions

COMMANDS = ("export", "run", "inspect", "targets", "doctor", "versions")
HEAVY = ("torch", "iree", "numpy")


def test_the_module_runs_as_a_command():
    result = subprocess.run(
        [sys.executable, "-m", "shark_turbine", "--version"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == f"shark-turbine {shark_turbine.__version__}\n"


def test_help_takes_less_than_300_ms_and_no_heavy_library():
    code = (
        "import sys, time\n"
        "from shark_turbine.cli import main\n"
        f"for name in {(None, *COMMANDS)}:\n"
        "    assert main([name, '--help'] if name else ['--help']) == 0\n"
        f"print('#', time.process_time(), *(name for name in {HEAVY} if name in sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    seconds, *loaded = result.stdout.rpartition("#")[2].split()
    assert loaded == []
    # All seven helps in one process, with the start of Python.
    assert float(seconds) < 0.3
    for name in COMMANDS:
        assert f"shark-turbine {name} [OPTIONS]" in result.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_get_their_completion(shell):
    environment = {**os.environ, "_SHARK_TURBINE_COMPLETE": f"{shell}_source"}
    command = [sys.executable, "-m", "shark_turbine"]
    script = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=True
    ).stdout
    assert "_SHARK_TURBINE_COMPLETE" in script
    # fish says the word itself, the others its number.
    place = "--rec" if shell == "fish" else "2"
    asked = {"COMP_WORDS": "shark-turbine export --rec", "COMP_CWORD": place}
    environment |= {"_SHARK_TURBINE_COMPLETE": f"{shell}_complete", **asked}
    answer = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=True
    ).stdout
    assert "--recipe" in answer


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["exprt"], ["there is no command 'exprt'", "did you mean 'export'?"]),
        (["export", "--tagret", "x"], ["there is no option '--tagret'", "'--target'?"]),
        (["export"], ["missing argument 'MODULE:ATTR'", "shark-turbine export --help"]),
        (["run", "a.vmfb", "--repeat", "0"], ["invalid value for '--repeat'"]),
        (["export", "a:b", "-o", "x"], ["not said what to write to x", "-o x.vmfb"]),
        (["export", "a:b", "-o", "x.vmfb", "--input", "2,3"], ["--input 2x3xf32"]),
        (["export", "a:b", "-o", "x.mlir", "--target", "host"], ["is not compiled"]),
        (["export", "a:b", "-o", "x.vmfb", "--parameters", "p.irpa"], ["no weights are left"]),
        (
            ["export", "a:b", "-o", "x.vmfb", "--input", "f32", "--inputs", "a:c"],
            ["example inputs are given twice"],
        ),
        (["run", "a.vmfb", "--input", "2x"], ["--input cannot be read"]),
        (["run", "a.vmfb", "--output", "r.txt"], ["cannot be written to r.txt", "@r.npy"]),
        (["run", "a.vmfb", "--output", "a.npz", "--output", "b.npy"], ["holds all results"]),
    ],
)
def test_a_mistake_of_usage_is_an_error_in_our_shape(words, said, capsys):
    assert cli.main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert "Traceback" not in captured.err
    for text in said:
        assert text in captured.err


def test_nothing_said_shows_the_help_and_is_a_mistake(capsys):
    assert cli.main([]) == 2
    captured = capsys.readouterr()
    assert (captured.out, "Commands:" in captured.err) == ("", True)


def test_an_error_is_json_where_json_is_asked_for(capsys, tmp_path):
    assert cli.main(["inspect", str(tmp_path / "none.vmfb"), "--json"]) == 2
    captured = capsys.readouterr()
    error = json.loads(captured.out)["error"]
    assert error["kind"] == "LoadError"
    assert error["got"] == "No such file or directory"
    assert captured.err.startswith("error: ")


def test_a_bug_prints_its_traceback_and_says_that_it_is_one(monkeypatch, capsys):
    monkeypatch.setattr(versions, "installed", lambda distribution: 1 / 0)
    assert cli.main(["versions"]) == 70
    printed = capsys.readouterr().err
    assert "Traceback" in printed
    assert "ZeroDivisionError" in printed
    assert "this is a bug of shark-turbine" in printed


def test_ctrl_c_is_no_error(monkeypatch, capsys):
    def interrupted(distribution):
        raise KeyboardInterrupt

    monkeypatch.setattr(versions, "installed", interrupted)
    assert cli.main(["versions"]) == 130
    assert capsys.readouterr().err.strip() == "interrupted"


# ---------------------------------------------------------------------------------------------- versions --


def test_versions_names_each_package_and_its_range(capsys):
    assert cli.main(["versions"]) == 0
    printed = capsys.readouterr().out
    for distribution, supported in versions.SUPPORTED.items():
        assert any(
            line.startswith(distribution) and line.endswith(f" supported ({supported})")
            for line in printed.splitlines()
        )


def test_versions_fails_on_an_unsupported_package(monkeypatch, capsys):
    monkeypatch.setattr(versions, "installed", lambda distribution: "1.0")
    assert cli.main(["versions"]) == 1
    assert "NOT SUPPORTED (>=2.13,<2.14)" in capsys.readouterr().out


# ----------------------------------------------------------------------------------------------- inspect --


def test_inspect_prints_the_manifest(tmp_path, capsys):
    manifest = {"functions": [{"name": "main"}], "target": "llvm-cpu"}
    path = tmp_path / "model.vmfb"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("shark_turbine.json", json.dumps(manifest))
    assert cli.main(["inspect", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == manifest
    # As a table it must be understood.
    assert cli.main(["inspect", str(path)]) == 2
    assert "cannot be understood" in capsys.readouterr().err


def make_foreign_zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("module.fb", b"\0")


def make_text(path):
    path.write_text("not a vmfb")


def make_bad_json(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("shark_turbine.json", "{")


def make_flipped(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("module.fb", b"abcdefgh")
        archive.writestr("shark_turbine.json", "{}")
    path.write_bytes(path.read_bytes().replace(b"abcdefgh", b"abcdefgi"))


def make_nothing(path):
    assert not path.exists()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (make_foreign_zip, "has no shark_turbine manifest"),
        (make_text, "is damaged or is no vmfb"),
        (make_bad_json, "is damaged or is no vmfb"),
        (make_flipped, "is damaged or is no vmfb"),
        (make_nothing, "cannot be read"),
    ],
)
def test_inspect_says_what_is_wrong_with_a_file(tmp_path, capsys, make, said):
    path = tmp_path / "model.vmfb"
    make(path)
    assert cli.main(["inspect", str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"error: {path} {said}")
