import tomllib

import pytest

from hyperrl.errors import ConfigError, HyperRLError, UnknownNameError
from hyperrl.sweep.plan import build_plan, read_plan
from tests.sweep.small_sweeps import TWELVE

RUN = '[run]\nsteps = 100\nagent = "td3"\nenv = "Pendulum-v1"\n'


def plan_of(text):
    return build_plan(tomllib.loads(text), "study", "study.toml")


def test_a_file_becomes_runs(tmp_path):
    path = tmp_path / "my study.toml"
    path.write_text(TWELVE)
    plan = read_plan(path)
    assert plan.name == "my-study"
    assert len(plan.runs) == 12
    assert plan.runs[0].name == "td3_Pendulum-v1_net_arch=8_s0"
    config = plan.runs[0].config
    assert (config.agent, config.env, config.seed) == ("td3", "Pendulum-v1", 0)
    assert (config.steps, config.threads, config.out) == (300, 1, None)
    assert config.agent_kwargs["batch_size"] == 16
    assert config.agent_kwargs["policy_kwargs"]["net_arch"] == [8]
    # From the preset of the agent.
    assert config.agent_kwargs["action_noise"]["kind"] == "normal"


def test_what_is_written_down_gives_the_same_runs(tmp_path):
    text = f"{RUN}[grid]\nseed = {{ count = 2, start = 3 }}\nagent_kwargs.gamma = [0.9, 0.99]\n"
    plan = plan_of(f"{text}[[exclude]]\nseed = 4\nagent_kwargs.gamma = 0.9\n")
    (tmp_path / "sweep.toml").write_text(plan.to_toml())
    again = read_plan(tmp_path)
    assert (again.runs, again.name) == (plan.runs, "study")
    assert [run.settings["seed"] for run in again.runs] == [3, 3, 4]


def test_arguments_of_environments_are_contexts():
    plan = plan_of(f"{RUN}[grid]\nenv_kwargs.g = [1.0, 9.81]\n")
    assert [run.config.env_kwargs for run in plan.runs] == [{"g": 1.0}, {"g": 9.81}]


def test_what_was_adapted_is_said_once():
    plan = plan_of(f"{RUN}[grid]\nseed = [0, 1, 2]\n")
    assert plan.notes == ("learning_starts is 10, not the preset's 10000: the run has only 100 steps",)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is empty"),
        (RUN, "is empty"),
        ("grid = 3", "grid in study.toml must be a table"),
        ("[grid]\nseed = [0]\n[exclude]\nseed = 0", "exclude in study.toml must be tables"),
        ("[grid]\nseed = [0]\n", "the agent is missing in study.toml"),
        ('[run]\nagent = "td3"\n[grid]\nseed = [0]\n', "the env is missing in study.toml"),
        ('[run]\nagent = ["td3"]\nenv = "x"\n[grid]\nseed = [0]\n', "several belong into"),
        (f"{RUN}[grid]\nsteps = [1]\n", "steps is both in .run. and in .grid."),
        (f"{RUN}agent_kwargs.gamma = 1\n[grid]\nagent_kwargs.gamma = [1]\n", "agent_kwargs.gamma is both"),
        (f"{RUN}agent_kwargs = 3\n[grid]\nseed = [1]\n", "agent_kwargs in .* must be a table"),
        (f"{RUN}threads = 2\n[grid]\nseed = [0]\n", "threads cannot be in .run."),
        (f'{RUN}out = "x"\n[grid]\nseed = [0]\n', "out cannot be in .run."),
        (f"{RUN}gamma = 0.9\n[grid]\nseed = [0]\n", "argument of td3: write agent_kwargs.gamma"),
        (f"{RUN}[grid]\ngamma = [0.9]\n", "argument of td3: write agent_kwargs.gamma"),
        (f"{RUN}[grid]\nseed = [-1]\n", "run td3_Pendulum-v1_s-1: seed must be"),
        (f"{RUN}[grid]\nseed = ['a']\n", "seed must be a whole number"),
        (f"{RUN}[grid]\nagent_kwargs.gamma = [0.9, 7]\n", "gamma=7_s0: gamma must be"),
        (f"{RUN}[grid]\nagent_kwargs.gama = [0.9]\n", "'gama', did you mean 'gamma'"),
        (f"{RUN}[grid]\nenv_kwargs.gravitation = [1]\n", "'Pendulum-v1' cannot be built"),
        (f'{RUN}[grid]\npreset = ["no"]\n', "unknown preset of td3 'no'"),
        (f"{RUN}[grid]\npreset = [3]\n", "preset must be a name"),
        ('[grid]\nagent = ["td"]\nenv = ["Pendulum-v1"]\n', "unknown agent 'td', did you mean 'td3'"),
        ('[grid]\nagent = ["td3"]\nenv = ["Pendulun-v1"]\n', "did you mean 'Pendulum-v1'"),
        ('[grid]\nagent = ["td3"]\nenv = ["CartPole-v1"]\n', "needs a Box action space"),
        (
            f"{RUN}[grid]\nenv_kwargs = [{{}}, {{ g = 10.0 }}]\nn_envs=[1]\n[[exclude]]\nn_envs = 1\n",
            "nothing",
        ),
        (f"{RUN}[grid]\nagent_kwargs.learning_starts = [1979-05-27, 5]\n", "must be a TOML value"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_one_sentence(text, sentence):
    with pytest.raises(HyperRLError, match=sentence) as caught:
        plan_of(text)
    assert "\n" not in str(caught.value)


def test_the_same_run_twice_is_refused():
    text = f"{RUN}[grid]\nagent_kwargs.policy_kwargs = [{{ net_arch = [8] }}, {{ net_arch = [8.0] }}]\n"
    with pytest.raises(ConfigError):
        plan_of(text)
    same = f"{RUN}[grid]\nenv_kwargs = [{{}}, {{}}]\n"
    with pytest.raises(ConfigError, match="twice"):
        plan_of(same)
    names = f'{RUN}[grid]\nenv_kwargs.g = [1.0, "1.0"]\n'
    with pytest.raises(ConfigError, match=r"study.toml gives two runs the name td3_Pendulum-v1_g=1.0_s0"):
        plan_of(names)


def test_runs_of_several_seeds_share_none():
    text = """
    [run]
    steps = 30_000
    seeds = 3
    [grid]
    agent = ["compiled-td3"]
    env = ["InvertedPendulum-v5"]
    seed = [0, 2]
    """
    with pytest.raises(ConfigError, match=r"seeds 0 and 2 train 3 seeds each.* 3 apart"):
        plan_of(text)
    runs = plan_of(text.replace("[0, 2]", "[0, 3]")).runs
    assert [run.config.seed for run in runs] == [0, 3]


def test_unknown_parts_have_the_nearest():
    with pytest.raises(UnknownNameError, match=r"unknown part of study.toml 'gird', did you mean 'grid'"):
        plan_of("[gird]\nseed = [0]\n")
    with pytest.raises(UnknownNameError, match="'stepz', did you mean 'steps'"):
        plan_of(f"{RUN}stepz = 3\n[grid]\nseed = [0]\n")


def test_a_name_must_be_fit_for_a_folder():
    for name in ("../up", "", "a/b", ".hidden", "x" * 101):
        with pytest.raises(ConfigError, match="must be fit for a folder"):
            build_plan({"grid": {"seed": [0]}}, name, "study.toml")


@pytest.mark.parametrize("content", [None, b"[grid", b"\xff\xfe", b"x = " + b"[" * 5000])
def test_a_file_that_cannot_be_read_is_refused(tmp_path, content):
    path = tmp_path / "study.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"study.toml"):
        read_plan(path)
