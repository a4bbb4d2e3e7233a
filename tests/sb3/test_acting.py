import numpy as np
import pytest
import torch
from stable_baselines3 import SAC, TD3
from stable_baselines3.td3.policies import TD3Policy
from torch import nn

from hyperrl.errors import NonFiniteError
from hyperrl.sb3.acting import direct_actor
from hyperrl_agents.compiled_td3 import CompiledTD3
from tests.sb3.toys import SMALL, DictEnv, ImageEnv, PointEnv

OBSERVATIONS = np.random.default_rng(0).standard_normal((4, 3))


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.ELU])
@pytest.mark.parametrize("algorithm", [TD3, SAC])
def test_actions_are_the_actors_own_bit_by_bit(algorithm, activation):
    model = algorithm("MlpPolicy", PointEnv(), policy_kwargs={"activation_fn": activation}, **SMALL)
    act = direct_actor(model.policy)
    for rows in (1, 4):
        observations = OBSERVATIONS[:rows]
        torch.manual_seed(3)
        found = act(observations)
        after = torch.rand(1)
        torch.manual_seed(3)
        with torch.no_grad():
            expected = model.actor(torch.as_tensor(observations, dtype=torch.float32)).numpy()
        np.testing.assert_array_equal(found, expected)
        # As many random numbers were drawn.
        assert torch.rand(1) == after


def test_what_the_actor_learns_is_seen_at_once():
    model = TD3("MlpPolicy", PointEnv(), **SMALL)
    act = direct_actor(model.policy)
    with torch.no_grad():
        for parameter in model.actor.parameters():
            parameter.zero_()
        model.actor.mu[-2].bias.fill_(0.5)
    np.testing.assert_allclose(act(OBSERVATIONS), np.tanh(0.5), rtol=1e-6)


@pytest.mark.parametrize(
    ("algorithm", "policy", "env", "options"),
    [
        (TD3, "CnnPolicy", ImageEnv, {}),
        (SAC, "MultiInputPolicy", DictEnv, {}),
        (SAC, "MlpPolicy", PointEnv, {"use_sde": True}),
    ],
)
def test_other_actors_act_by_themselves(algorithm, policy, env, options):
    assert direct_actor(algorithm(policy, env(), **SMALL, **options).policy) is None


def test_a_policy_with_a_way_of_its_own_acts_by_itself():
    class Own(TD3Policy):
        def _predict(self, observation, deterministic=False):
            return super()._predict(observation, deterministic) * 0.5

    assert direct_actor(TD3(Own, PointEnv(), **SMALL).policy) is None
    model = CompiledTD3("MlpPolicy", PointEnv(), **SMALL)
    model.learn(SMALL["learning_starts"] + 2)
    model.policy._predict = lambda observation, deterministic=False: torch.full((1, 2), 0.25)
    assert model._sample_action(0)[1] == pytest.approx(np.full((1, 2), 0.25))


def test_an_actor_with_a_hook_acts_by_itself():
    model = TD3("MlpPolicy", PointEnv(), **SMALL)
    model.actor.mu[0].register_forward_hook(lambda *_: None)
    assert direct_actor(model.policy) is None


@pytest.mark.parametrize("value", [1e39, -1e300, np.inf, np.nan])
def test_exploring_refuses_what_float32_cannot_hold(value):
    model = CompiledTD3("MlpPolicy", PointEnv(), **SMALL)
    model.learn(SMALL["learning_starts"] + 2)
    with torch.no_grad():
        # An actor that would give a finite action all the same.
        model.actor.mu[0].weight.zero_()
        model.actor.mu[0].weight[:, 0] = 1
    model._last_obs = np.array([[value, 0.0, 0.0]])
    with pytest.raises(NonFiniteError, match="column 0"):
        model._sample_action(0)
