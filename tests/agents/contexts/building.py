"""Small agents of toy tasks with contexts."""

from __future__ import annotations

import pytest
import torch as th
from stable_baselines3.common.env_util import make_vec_env

from hyperrl import ContextPPO, ContextSAC, ContextTD3
from tests.sb3.contexts.toys import ContextTask, policy_of

AGENTS = [ContextSAC, ContextTD3, ContextPPO]
every_agent = pytest.mark.parametrize("cls", AGENTS)
SIZES = {
    ContextPPO: {"n_steps": 16, "batch_size": 16, "n_epochs": 2},
    ContextSAC: {"learning_starts": 16, "batch_size": 16, "buffer_size": 200},
    ContextTD3: {"learning_starts": 16, "batch_size": 16, "buffer_size": 200},
}


def build(cls, append="dict", actor="hyper", critic="concat", env=None, mode="visible", **kwargs):
    env = env or make_vec_env(lambda: ContextTask(append, mode), 2, seed=0)
    policy = policy_of(append if mode != "hidden" else "flat")
    networks = {"actor": actor, "critic": critic, "net_arch": [12, 12], **kwargs.pop("policy_kwargs", {})}
    arguments = {"seed": 0, "device": "cpu", **SIZES[cls], **kwargs}
    return cls(policy, env, policy_kwargs=networks, **arguments)


def stirred(model):
    """Heads that start at zero would leave nothing to compare."""
    with th.no_grad():
        for parameter in model.policy.parameters():
            parameter.add_(0.1 * th.randn_like(parameter))
    return model


def parameters(model):
    return th.nn.utils.parameters_to_vector(model.policy.parameters()).detach().clone()
