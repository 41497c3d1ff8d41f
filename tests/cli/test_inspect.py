# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The command line, called in process and once as a user calls it."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import shark_turbine
from shark_turbine import cli, versions


def test_the_module_runs_as_a_command() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "shark_turbine", "--version"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == f"shark-turbine {shark_turbine.__version__}\n"


def test_versions_names_each_package_and_its_range(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["versions"]) == 0
    printed = capsys.readouterr().out
    for distribution, supported in versions.SUPPORTED.items():
        assert any(
            line.startswith(distribution) and line.endswith(f" supported ({supported})")
            for line in printed.splitlines()
        )


def test_versions_fails_on_an_unsupported_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(versions, "installed", lambda distribution: "1.0")
    assert cli.main(["versions"]) == 1
    assert "NOT SUPPORTED (>=2.13,<2.14)" in capsys.readouterr().out


def test_inspect_prints_the_manifest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = {"functions": [{"name": "main"}], "target": "llvm-cpu"}
    path = tmp_path / "model.vmfb"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("shark_turbine.json", json.dumps(manifest))
    assert cli.main(["inspect", str(path)]) == 0
    assert json.loads(capsys.readouterr().out) == manifest


def make_foreign_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("module.fb", b"\0")


def make_text(path: Path) -> None:
    path.write_text("not a vmfb")


def make_bad_json(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("shark_turbine.json", "{")


def make_nothing(path: Path) -> None:
    assert not path.exists()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (make_foreign_zip, "has no shark_turbine manifest"),
        (make_text, "is damaged or is no vmfb"),
        (make_bad_json, "is damaged or is no vmfb"),
        (make_nothing, "cannot be read"),
    ],
)
def test_inspect_says_what_is_wrong_with_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], make: object, said: str
) -> None:
    path = tmp_path / "model.vmfb"
    assert callable(make)
    make(path)
    assert cli.main(["inspect", str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"error: {path} {said}")
