import pytest

from hyperrl.cli import doctor, main
from hyperrl.errors import PluginError


@pytest.fixture
def no_rendering(monkeypatch):
    """Let no backend render, in no time."""
    monkeypatch.setattr(doctor, "_renders", lambda backend: False)


def results(text):
    return {line[:20].split("  ")[0].strip(): line for line in text.splitlines()}


def test_a_sound_installation_passes(capsys, no_rendering):
    assert main(["doctor"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = results(out)
    for what in (
        "python",
        "torch",
        "gymnasium",
        "mujoco",
        "mujoco steps",
        "free disk",
        "write speed",
        "agents",
        "kinds",
    ):
        assert " ok " in lines[what] or " warn " in lines[what]
    assert "steps/s of HalfCheetah-v5" in lines["mujoco steps"]
    assert "hyper-td3" in lines["agents"]
    assert " warn " in lines["rendering"]
    assert "videos do not" in lines["rendering"]


def test_a_missing_package_fails(capsys, monkeypatch, no_rendering):
    monkeypatch.setattr(doctor, "package_versions", lambda: {"torch": None, "tensorboard": None})
    assert main(["doctor"]) == 1
    out, err = capsys.readouterr()
    assert "FAIL" in results(out)["torch"]
    assert " warn " in results(out)["tensorboard"]
    assert err == "hyperrl doctor: something essential fails: torch\n"


def test_a_broken_simulator_fails(capsys, monkeypatch, no_rendering):
    def broken(env_id):
        raise RuntimeError("no\nphysics")

    monkeypatch.setattr("hyperrl.environments.make_env", broken)
    assert main(["doctor"]) == 1
    out, err = capsys.readouterr()
    assert "RuntimeError: no physics" in out
    assert err == "hyperrl doctor: something essential fails: mujoco simulation\n"


def test_an_agent_that_cannot_be_imported_fails(monkeypatch):
    def broken(name):
        raise PluginError(f"{name} is broken")

    monkeypatch.setattr(doctor.agents, "get", broken)
    findings = {finding.what: finding for finding in doctor.check_entry_points()}
    assert findings["agents"].verdict == "FAIL"
    assert "td3 is broken" in findings["agents"].detail
    assert findings["kinds"].verdict == "ok"


def test_nothing_registered_fails(monkeypatch):
    monkeypatch.setattr(doctor.kinds, "names", list)
    findings = {finding.what: finding for finding in doctor.check_entry_points()}
    assert findings["kinds"].verdict == "FAIL"
    assert "pip install" in findings["kinds"].detail


def test_the_chosen_backend_is_the_one_that_is_tried(monkeypatch):
    tried = []
    monkeypatch.setattr(doctor, "_renders", lambda backend: tried.append(backend) or backend == "osmesa")
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    assert [f.detail for f in doctor.check_rendering()] == ["MUJOCO_GL=osmesa"]
    assert tried == ["egl", "osmesa"]
    monkeypatch.setenv("MUJOCO_GL", "glfw")
    assert [f.verdict for f in doctor.check_rendering()] == ["warn"]
    assert tried[2:] == ["glfw"]


@pytest.mark.parametrize(
    ("program", "works"),
    [("import os; assert os.environ['MUJOCO_GL'] == 'toy'", True), ("raise SystemExit(1)", False)],
)
def test_a_backend_is_tried_in_another_process(monkeypatch, program, works):
    monkeypatch.setattr(doctor, "_RENDER", program)
    assert doctor._renders("toy") is works


def test_a_backend_that_hangs_is_passed_over(monkeypatch):
    monkeypatch.setattr(doctor, "_RENDER", "import time; time.sleep(60)")
    monkeypatch.setattr(doctor, "_RENDER_SECONDS", 0.2)
    assert not doctor._renders("egl")
