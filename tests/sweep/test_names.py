import re

from hyperrl.sweep.names import run_name

BASE = {"agent": "td3", "env": "Hopper-v5", "seed": 0}


def test_a_name_says_what_the_run_is():
    assert run_name(BASE) == "td3_Hopper-v5_s0"
    settings = {**BASE, "agent_kwargs.learning_rate": 1e-3, "preset": "demo", "n_envs": 2}
    assert run_name(settings) == "td3_Hopper-v5_learning_rate=0.001_n_envs=2_preset=demo_s0"


def test_the_order_of_the_file_does_not_matter():
    one = {**BASE, "n_envs": 2, "agent_kwargs.gamma": 0.9}
    assert run_name(one) == run_name(dict(reversed(one.items())))


def test_values_that_are_no_words_become_some():
    assert run_name({**BASE, "agent_kwargs.net_arch": [64, 64]}).endswith("net_arch=64-64_s0")
    assert run_name({**BASE, "workers": True}).endswith("workers=true_s0")
    assert run_name({**BASE, "env_kwargs": {"gravity": 9.5, "flag": False}}).endswith(
        "env_kwargs=gravity=9.5,flag=false_s0"
    )
    assert run_name({**BASE, "env": "my_module:My Env/Über-v0"}) == "td3_my_module-My-Env-ber-v0_s0"
    assert run_name({**BASE, "env": ".."}) == "td3_unnamed_s0"


def test_last_parts_that_are_equal_are_told_apart():
    settings = {**BASE, "agent_kwargs.mass": 1, "env_kwargs.mass": 2}
    assert run_name(settings) == "td3_Hopper-v5_agent_kwargs.mass=1_env_kwargs.mass=2_s0"


def test_long_names_are_cut_and_stay_different():
    names = {run_name({**BASE, "preset": "x" * 300 + str(index)}) for index in range(3)}
    assert len(names) == 3
    many = {**BASE, **{f"agent_kwargs.argument_{index}": index for index in range(40)}}
    assert all(len(name) <= 200 for name in [*names, run_name(many)])
    assert all(re.fullmatch(r"[\w.,=+-]+", name) for name in names)
