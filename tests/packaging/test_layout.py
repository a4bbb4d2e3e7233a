import os
import tomllib
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
SOURCES = ("hyperrl", "agents", "envs")
OF_THE_WARP_EXTRA = {"etils", "mujoco-warp", "warp-lang", "zipp"}


@pytest.mark.parametrize("folder", ["agents", "envs", "runs", "tests"])
def test_the_roots_are_no_packages(folder):
    assert (ROOT / folder).is_dir()
    assert not (ROOT / folder / "__init__.py").exists()


def test_no_module_has_a_name_that_says_nothing():
    names = {path.stem for root in SOURCES for path in (ROOT / root).rglob("*.py")}
    assert not names & {"utils", "util", "common", "helpers", "misc"}


def test_no_module_hides_a_builtin_in_its_package():
    # A submodule becomes a global of its package: `hyperrl/cli/list.py` would replace `list` there.
    names = {path.stem for root in SOURCES for path in (ROOT / root).rglob("*.py")}
    assert not names & set(dir(__builtins__) if not isinstance(__builtins__, dict) else __builtins__)


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def locked():
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def test_the_lock_pins_what_the_project_asks_for_within_its_ranges():
    pins = locked()
    extras = project()["optional-dependencies"]
    asked = [*project()["dependencies"], *extras["dev"], *extras["warp"]]
    for requirement in map(Requirement, asked):
        name = canonicalize_name(requirement.name)
        assert name in pins, f"{name} is not in requirements.lock"
        assert pins[name] in requirement.specifier, f"{name}=={pins[name]} is outside {requirement.specifier}"


def test_the_lock_has_no_local_builds_and_is_sorted():
    pins = locked()
    assert not [pin for pin in pins.values() if "+" in pin]
    assert list(pins) == sorted(map(canonicalize_name, pins))
    assert pins["torch"] == "2.13.0"


@pytest.mark.skipif("HYPERRL_OTHER_VERSIONS" in os.environ, reason="the versions are others on purpose")
def test_the_tests_run_with_the_locked_versions():
    found = {canonicalize_name(each.name): each.version.split("+")[0] for each in distributions()}
    pins = locked()
    if "warp-lang" not in found:  # That extra is optional; `make test-slow` installs it.
        pins = {name: pin for name, pin in pins.items() if name not in OF_THE_WARP_EXTRA}
    different = {name: found.get(name) for name, pin in pins.items() if found.get(name) != pin}
    different.pop("setuptools", None)
    assert different == {}


def test_the_merge_check_lints_and_tests():
    path = ROOT / ".ci" / "run"
    assert os.access(path, os.X_OK)
    assert {"make lint", "make test"} <= set(path.read_text().splitlines())
