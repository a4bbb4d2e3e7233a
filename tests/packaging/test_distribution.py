"""The wheel, the source archive and the editable install, as a user gets them."""

import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {"hyperrl", "hyperrl_agents", "hyperrl_envs"}
LOOK = """
import agents, envs, hyperrl, hyperrl_agents, hyperrl_envs
from hyperrl.presets import read_presets
from hyperrl.registry import agents as registered, kinds
print(hyperrl.__file__, hyperrl_agents.__file__, hyperrl_envs.__file__)
print(sorted(registered.names())[-2:], kinds.names()[:2], sorted(read_presets("td3")))
from agents.mine import NAME as agent
from envs.mine import NAME as env
print(agent, env, hyperrl.RunConfig("td3", "Ant-v5").steps)
"""


def run(*command, cwd):
    done = subprocess.run([*map(str, command)], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The source archive, and the wheel that is built from it."""
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT, cwd=out)
    return next(out.glob("*.tar.gz")), next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def editable(tmp_path_factory):
    """The wheel of an editable install."""
    out = tmp_path_factory.mktemp("editable")
    run(sys.executable, "-c", f"from hatchling.build import build_editable as b; b({str(out)!r})", cwd=ROOT)
    return next(out.glob("*.whl"))


def test_the_wheel_has_our_packages_and_no_general_names(built):
    names = zipfile.ZipFile(built[1]).namelist()
    top = {name.split("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == PACKAGES
    for package in PACKAGES:
        assert f"{package}/__init__.py" in names
        assert f"{package}/py.typed" in names
    assert "hyperrl_agents/baselines/td3/presets.toml" in names
    assert not [name for name in names if name.endswith(".pyc")]


def test_the_wheel_has_every_file_of_the_packages(built):
    names = set(zipfile.ZipFile(built[1]).namelist())
    for root, package in (
        (ROOT, "hyperrl"),
        (ROOT / "agents", "hyperrl_agents"),
        (ROOT / "envs", "hyperrl_envs"),
    ):
        for path in (root / package).rglob("*"):
            if path.is_file() and path.suffix != ".pyc" and path.name != "MUJOCO_LOG.TXT":
                assert path.relative_to(root).as_posix() in names


def test_the_metadata_of_the_wheel(built):
    wheel = zipfile.ZipFile(built[1])
    texts = {Path(name).name: wheel.read(name).decode() for name in wheel.namelist() if ".dist-info/" in name}
    assert "Requires-Python: >=3.11" in texts["METADATA"]
    assert "License-Expression: MIT" in texts["METADATA"]
    assert "MIT License" in texts["LICENSE"]
    assert "hyperrl = hyperrl.cli:main" in texts["entry_points.txt"]
    assert "hyper-td3 = hyperrl_agents.hyper_td3:HyperTD3" in texts["entry_points.txt"]


def test_the_source_archive_has_the_tests_and_no_runs(built):
    with tarfile.open(built[0]) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    assert {"pyproject.toml", "LICENSE", "requirements.lock", "tests/conftest.py"} <= set(names)
    assert not [name for name in names if name.startswith(("runs", ".venv", ".git/"))]


@pytest.fixture(scope="module", params=["wheel", "editable"])
def python(request, tmp_path_factory):
    """The Python of a fresh environment with the project installed, and our dependencies borrowed."""
    archive = (
        request.getfixturevalue("built")[1]
        if request.param == "wheel"
        else request.getfixturevalue("editable")
    )
    home = tmp_path_factory.mktemp(request.param)
    venv.create(home, symlinks=True)
    program = home / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", program)
    run(*pip, "install", "--quiet", "--no-deps", "--no-index", archive, cwd=home)
    site = Path(
        run(program, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=home).strip()
    )
    # A path in a .pth file is added without reading the .pth files there: our own editable install stays out.
    (site / "zz-dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return request.param, program


@pytest.mark.parametrize(
    ("python", "regular"),
    [
        pytest.param("wheel", True, id="wheel-packages"),
        pytest.param("editable", False, id="editable-namespaces"),
        pytest.param("wheel", False, id="wheel-namespaces", marks=pytest.mark.slow),
        pytest.param("editable", True, id="editable-packages", marks=pytest.mark.slow),
    ],
    indirect=["python"],
)
def test_it_works_beside_the_agents_and_envs_of_a_user(python, tmp_path, regular):
    kind, program = python
    for folder in ("agents", "envs"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(f"NAME = 'my {folder}'\n")
        if regular:
            (tmp_path / folder / "__init__.py").touch()
    where, names, mine = run(program, "-c", LOOK, cwd=tmp_path).splitlines()
    installed = ROOT if kind == "editable" else program.parents[1]
    assert all(Path(path).is_relative_to(installed) for path in where.split())
    assert names == "['sac', 'td3'] ['chunked', 'concat'] ['default']"
    assert mine == "my agents my envs 1000000"


def test_the_program_is_installed(python, tmp_path):
    program = python[1].with_name("hyperrl")
    assert run(program, "--version", cwd=tmp_path).startswith("hyperrl 0.")
    assert "hyper-td3" in run(program, "list", "agents", cwd=tmp_path)
