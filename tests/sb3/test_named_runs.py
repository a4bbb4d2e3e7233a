import pytest

from hyperrl import (
    CompiledPPO,
    CompiledSAC,
    CompiledTD3,
    ContextPPO,
    ContextSAC,
    HyperPPO,
    HyperSAC,
    HyperTD3,
)

ON_POLICY = {"n_steps": 8, "batch_size": 8, "n_epochs": 1}
OFF_POLICY = {"buffer_size": 100}


@pytest.mark.parametrize(
    ("agent", "settings"),
    [
        (CompiledPPO, ON_POLICY),
        (ContextPPO, ON_POLICY),
        (HyperPPO, {**ON_POLICY, "n_architectures": 1}),
        (CompiledSAC, OFF_POLICY),
        (CompiledTD3, OFF_POLICY),
        (ContextSAC, OFF_POLICY),
        (HyperSAC, OFF_POLICY),
        (HyperTD3, OFF_POLICY),
    ],
)
def test_a_run_has_the_name_of_its_class_in_tensorboard_or_the_given_one(agent, settings, tmp_path):
    model = agent("MlpPolicy", "Pendulum-v1", tensorboard_log=str(tmp_path), **settings)
    model.learn(8)
    model.learn(8, tb_log_name="mine")
    assert sorted(folder.name for folder in tmp_path.iterdir()) == sorted([f"{agent.__name__}_1", "mine_1"])
