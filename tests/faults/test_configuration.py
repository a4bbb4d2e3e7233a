"""Every number of a run's configuration, wrong in every way (group E of the fault list)."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hyperrl.cli import main

OF_RUN = ("steps", "seed", "n_envs", "threads", "eval_episodes", "eval_every", "checkpoint_every")
OF_RUN += ("step_timeout", "worker_restarts")
OFF_POLICY = ("learning_rate", "buffer_size", "learning_starts", "batch_size", "tau", "gamma")
OFF_POLICY += ("gradient_steps", "n_steps", "stats_window_size")
TD3 = ("policy_delay", "target_policy_noise", "target_noise_clip")
SAC = ("ent_coef", "target_update_interval", "target_entropy", "sde_sample_freq")
CRITIC = ("features", "learning_rate", "init.scale")
CRITIC = tuple(f"policy_kwargs.critic.{name}" for name in CRITIC)
# Right values of these may take more memory, threads or time than a test has.
HEAVY = ("buffer_size", "n_envs", "threads", "batch_size")
FIELDS = [
    *(("hyper-td3", name) for name in (*OF_RUN, *OFF_POLICY, *TD3, *CRITIC)),
    *(("hyper-sac", name) for name in (*OFF_POLICY, *SAC, *CRITIC)),
    *(("td3", name) for name in (*OFF_POLICY, *TD3)),
    *(("sac", name) for name in (*OFF_POLICY, *SAC)),
]
WRONG = ("nan", "inf", "-inf", "-2", "1e30", "[1, 2]")
# What looks extreme and is right all the same.
RIGHT = {("target_entropy", "-2")}
CASES = [(agent, field, value) for agent, field in FIELDS for value in WRONG if (field, value) not in RIGHT]


def test_there_are_as_many_cases_as_promised():
    assert len(CASES) >= 360


@pytest.mark.parametrize(("agent", "field", "value"), CASES)
def test_a_wrong_number_is_refused_in_one_sentence(capsys, tmp_path, monkeypatch, agent, field, value):
    monkeypatch.chdir(tmp_path)
    command = ["train", agent, "--env", "Pendulum-v1", "--out", str(tmp_path / "run")]
    assert main([*command, "--set", f"{field}={value}"]) == 2
    out, err = capsys.readouterr()
    assert err.startswith("hyperrl: ")
    assert err.count("\n") == 1
    assert field.rpartition(".")[2] in err
    assert out == ""
    assert list(tmp_path.iterdir()) == []


NUMBERS = st.one_of(
    st.floats().map(repr),
    st.integers(-(10**40), 10**40).map(str),
    st.sampled_from(["true", "false", '""', '"x"', "[]", "{}", "{ a = 1 }", "1979-05-27", "0x10", "1_000"]),
    st.text(max_size=8),
)


@pytest.mark.slow
@given(case=st.sampled_from([case for case in FIELDS if case[1] not in HEAVY]), value=NUMBERS)
@settings(
    max_examples=6000,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_value_is_taken_or_refused_in_one_sentence(capsys, tmp_path, monkeypatch, case, value):
    monkeypatch.chdir(tmp_path)
    agent, field = case
    command = ["train", agent, "--env", "Pendulum-v1", "--print-config", "--set", "buffer_size=10"]
    status = main([*command, "--set", f"{field}={value}"])
    err = capsys.readouterr().err
    assert status in (0, 2)
    assert "Traceback" not in err
    assert status == 0 or sum(line.startswith("hyperrl: ") for line in err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
