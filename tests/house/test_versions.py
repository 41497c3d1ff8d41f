# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The support ranges: one table in pyproject.toml, one in versions.py, one tested set."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from shark_turbine import versions
from shark_turbine.errors import VersionError
from shark_turbine.versions import SupportRange

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DEPENDENCIES = {
    canonicalize_name(requirement.name): requirement
    for requirement in map(Requirement, PROJECT["dependencies"])
}
PINS = {
    canonicalize_name(name): version
    for name, version in re.findall(
        r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE
    )
}


def test_the_declared_ranges_are_the_checked_ones() -> None:
    for distribution, supported in versions.SUPPORTED.items():
        assert DEPENDENCIES[canonicalize_name(distribution)].specifier == SpecifierSet(
            str(supported)
        )


def test_the_tested_set_pins_every_declared_requirement_inside_its_range() -> None:
    extras = PROJECT["optional-dependencies"].values()
    declared = [*PROJECT["dependencies"], *(line for extra in extras for line in extra)]
    for requirement in map(Requirement, declared):
        pin = PINS[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(pin), f"{requirement} against {pin}"


def test_the_tested_set_is_exact_and_without_build_tags() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert [line for line in pins if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []
    assert "torch==2.13.0" in pins


@pytest.mark.parametrize("version", ["2.13.0", "2.13.0+cpu", "2.13.1", "2.13.0rc1"])
def test_a_release_inside_the_range_is_supported(version: str) -> None:
    assert version in SupportRange((2, 13), (2, 14))


@pytest.mark.parametrize("version", ["2.12.9", "2.14.0", "2.14.0a0+git123", "2.2.1", "3.0", "?"])
def test_a_release_outside_of_the_range_is_not(version: str) -> None:
    assert version not in SupportRange((2, 13), (2, 14))


@pytest.mark.parametrize("distribution", versions.SUPPORTED)
def test_what_is_installed_here_is_accepted(distribution: str) -> None:
    versions.require(distribution)


def test_another_version_is_refused_with_the_command_that_mends_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(versions, "installed", lambda distribution: "2.9.1+cpu")
    with pytest.raises(VersionError) as caught:
        versions.require.__wrapped__("torch")
    assert str(caught.value).splitlines() == [
        "shark_turbine needs torch in a version that it was tested with",
        "  got:      torch 2.9.1+cpu",
        "  expected: torch>=2.13,<2.14",
        "  fix:      python -m pip install 'torch>=2.13,<2.14'",
    ]


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "installed", lambda distribution: None)
    with pytest.raises(VersionError, match="got:      iree-base-compiler is not installed"):
        versions.require.__wrapped__("iree-base-compiler")
