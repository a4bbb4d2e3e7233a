"""HyperPPO: what is special about learning with several architectures."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch as th
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

from hyperrl import HyperPPO
from hyperrl.errors import ConfigError, MixedTransitionsError, UnknownNameError
from hyperrl.sb3.normalising import OnRawObservations
from hyperrl.testing import check_agent
from tests.agents.hyper_ppo.conftest import SMALL
from tests.sb3.toys import ImageEnv, PointEnv


class Rollouts(BaseCallback):
    """Calls a function at the end of each rollout."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def _on_step(self):
        return True

    def _on_rollout_end(self):
        self.function(self.model)


def collected(model):
    """The agent with a full rollout, not trained on it yet."""
    _, callback = model._setup_learn(10_000, None)
    model.collect_rollouts(model.env, callback, model.rollout_buffer, model.n_steps)
    return model


def test_it_keeps_the_promises_of_every_agent():
    settings = {"n_architectures": 1, "batch_size": 8, "n_steps": 16}
    settings["policy_kwargs"] = {"architectures": SMALL, "generator": "nested"}
    check_agent(HyperPPO, PointEnv, agent_kwargs=settings, continuous_only=True)


@pytest.mark.parametrize("environment", [PointEnv, ImageEnv])
@pytest.mark.parametrize("kernel", ["padded", "buckets", "loop"])
def test_before_the_first_update_every_ratio_is_one(make_agent, kernel, environment):
    model = collected(make_agent(make_vec_env(environment, 4), policy_kwargs={"kernel": kernel}))
    with th.no_grad():
        for batch in model.rollout_buffer.stratified(model._drawn, 16):
            plan = model._plan(8)
            _, log_prob, _ = model.policy.evaluate(
                plan, batch.observations, batch.actions, batch.architectures
            )
            assert th.allclose((log_prob - batch.old_log_prob).exp(), th.ones(16), atol=1e-5)


def test_probabilities_of_the_rollout_are_those_of_the_architecture_that_flew(make_agent):
    model = collected(make_agent())
    buffer = model.rollout_buffer
    for env in range(4):
        architecture = model.policy.space[int(model._drawn[env // 2])]
        observations = th.as_tensor(buffer.observations[:, env])
        with th.no_grad():
            distribution = model.policy.get_distribution(observations, architecture)
            own = distribution.log_prob(th.as_tensor(buffer.actions[:, env]))
            values = model.policy.predict_values(observations, architecture).flatten()
        assert np.allclose(buffer.log_probs[:, env], own, atol=1e-5)
        assert np.allclose(buffer.values[:, env], values, atol=1e-5)


def test_environments_that_changed_places_are_refused(make_agent):
    model = collected(make_agent())
    buffer = model.rollout_buffer
    order = [2, 3, 0, 1]
    for name in ("observations", "actions", "values", "log_probs", "advantages", "returns"):
        setattr(buffer, name, getattr(buffer, name)[:, order])
    with pytest.raises(MixedTransitionsError, match="do not belong together"):
        model.train()


def test_means_that_are_large_beside_their_spread_are_only_rounded(make_agent):
    gains = {"weight_gain": 6.0, "output_gain": 10.0}
    settings = {"log_std_init": -6.0, "generator_kwargs": gains}
    model = collected(make_agent(generator="transformer", policy_kwargs=settings))
    with th.no_grad():
        batch = next(model.rollout_buffer.stratified(model._drawn, 32))
        _, log_prob, _ = model.policy.evaluate(
            model._plan(16, training=True), batch.observations, batch.actions, batch.architectures
        )
    # Else this would show nothing: a fixed bound refuses what is rounding alone.
    assert (log_prob - batch.old_log_prob).exp().sub(1).abs().max() > 0.01
    model.train()


def test_a_policy_that_changed_during_the_rollout_is_refused(make_agent):
    model = collected(make_agent())
    with th.no_grad():
        model.policy.generator.masters.mul_(1.5)
    with pytest.raises(MixedTransitionsError, match="or the policy was changed during the rollout"):
        model.train()


def test_the_end_of_an_episode_cut_short_has_the_value_of_its_own_architecture(make_agent):
    model = make_agent()
    collected(model)
    observations = th.randn(4, model.policy.space.inputs)
    values = model._values_of(observations[[1, 3]], np.array([1, 3]))
    for row, env in enumerate((1, 3)):
        architecture = model.policy.space[int(model._drawn[env // 2])]
        with th.no_grad():
            own = model.policy.predict_values(observations[[env]], architecture)
        assert th.allclose(values[row], own[0], atol=1e-6)


def test_the_generator_learns_and_so_do_critic_and_spread(make_agent):
    model = make_agent(learning_rate=1e-2)
    before = {name: value.clone() for name, value in model.policy.named_parameters()}
    model.learn(64)
    moved = {name for name, value in model.policy.named_parameters() if not th.equal(value, before[name])}
    assert moved == set(before)


def test_parameters_of_architectures_that_were_not_drawn_get_no_gradient(make_agent):
    model = collected(
        make_agent(policy_kwargs={"architectures": [[4], [4, 4], [4, 4, 4]]}, n_architectures=1)
    )
    batch = next(model.rollout_buffer.stratified(model._drawn, 16))
    loss, _ = model._loss(batch, 0.2, True)
    loss.backward()
    gradient = model.policy.generator.masters.grad
    own = th.zeros_like(gradient)
    # Where in the shared weights the drawn architecture's own lie, found by changing them.
    layers = model.policy.generator.generate(model.policy.space[int(model._drawn[0])])
    total = sum(weight.square().sum() + bias.sum() for weight, bias in layers)
    (own,) = th.autograd.grad(total, model.policy.generator.masters)
    elsewhere = own == 0
    assert elsewhere.any()
    assert (gradient[elsewhere] == 0).all()
    assert (gradient[~elsewhere] != 0).any()


@pytest.mark.parametrize(("every", "draws"), [(1, 6), (3, 2)])
def test_each_rollout_draws_anew_unless_architectures_are_to_stay(make_agent, every, draws):
    drawn = []
    make_agent(draw_every=every).learn(6 * 32, Rollouts(lambda model: drawn.append(tuple(model._drawn))))
    assert 1 < len(set(drawn)) <= draws
    assert all(len({*drawn[start : start + every]}) == 1 for start in range(0, 6, every))


def test_the_rate_follows_the_desired_divergence(make_agent):
    low = make_agent(desired_kl=1e-9).learn(64)
    high = make_agent(desired_kl=1e3).learn(64)
    assert low.policy.optimizer.param_groups[0]["lr"] == pytest.approx(3e-4 / 1.5**4)
    assert high.policy.optimizer.param_groups[0]["lr"] == pytest.approx(3e-4 * 1.5**4)


def test_a_target_for_the_divergence_stops_updates(make_agent):
    model = make_agent(target_kl=1e-12, learning_rate=0.01, n_epochs=5).learn(32)
    assert model._n_updates == 1


def test_a_saved_agent_acts_alike_for_every_architecture(make_agent, tmp_path):
    model = make_agent().learn(64)
    model.save(tmp_path / "model")
    loaded = HyperPPO.load(tmp_path / "model", device="cpu")
    rows = np.random.default_rng(1).normal(size=(4, model.policy.space.inputs)).astype(np.float32)
    for architecture in SMALL:
        ours, theirs = (
            m.predict(rows, deterministic=True, architecture=architecture)[0] for m in (model, loaded)
        )
        assert np.array_equal(ours, theirs)


def test_training_goes_on_after_loading_with_the_same_draws(make_agent, tmp_path):
    model = make_agent().learn(64)
    model.save(tmp_path / "model")
    loaded = HyperPPO.load(tmp_path / "model", env=make_vec_env(PointEnv, 4), device="cpu")
    assert np.array_equal(model._sampler.draw(), loaded._sampler.draw())
    loaded.learn(64)


@pytest.mark.parametrize("architecture", SMALL)
def test_a_plain_policy_acts_alike_normaliser_included(make_agent, architecture):
    venv = VecNormalize(make_vec_env(PointEnv, 4), clip_obs=0.5)
    model = make_agent(venv).learn(64)
    rows = np.random.default_rng(2).normal(size=(50, model.policy.space.inputs)) * 3
    plain = model.specialise(architecture)
    expected, _ = OnRawObservations(model, architecture=architecture).predict(rows, deterministic=True)
    assert np.allclose(plain(rows), expected, atol=1e-5)
    assert plain.architecture == tuple(architecture)


def test_a_policy_is_polished_as_an_ordinary_one(make_agent):
    model = make_agent().learn(64)
    polished = model.polish([8, 4], learning_rate=1e-3)
    rows = np.random.default_rng(3).normal(size=(4, model.policy.space.inputs)).astype(np.float32)
    expected, _ = model.predict(rows, deterministic=True, architecture=[8, 4])
    assert np.allclose(polished.predict(rows, deterministic=True)[0], expected, atol=1e-6)
    before = copy.deepcopy(polished.policy.state_dict())
    polished.learn(64)
    assert polished.learning_rate == 1e-3
    assert any(not th.equal(before[name], value) for name, value in polished.policy.state_dict().items())


def test_returns_are_counted_for_episodes_of_one_architecture_alone(make_agent):
    # Episodes as long as a rollout, and drawn architectures stay for two.
    model = make_agent(draw_every=2)
    model.learn(32 * 8)
    counts = model.architecture_returns.episodes
    assert counts.sum() > 0
    assert np.isfinite(model.architecture_returns.last[counts > 0]).all()
    assert np.isnan(model.architecture_returns.last[counts == 0]).all()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"n_architectures": 3}, "the number of environments must be a multiple of the 3 architectures"),
        ({"batch_size": 15}, "batch_size must be a multiple of the 2 architectures"),
        ({"n_architectures": 0}, "n_architectures must be"),
        ({"draw_every": 0}, "draw_every must be"),
        ({"desired_kl": 0.0}, "desired_kl must be"),
    ],
)
def test_what_cannot_be_divided_is_refused(make_agent, settings, sentence):
    with pytest.raises(ConfigError, match=sentence):
        make_agent(**settings)


def test_one_environment_is_enough_to_act_but_not_to_learn(make_agent):
    model = make_agent(make_vec_env(PointEnv, 1))
    model.predict(np.zeros(model.policy.space.inputs, np.float32), architecture=[4])
    with pytest.raises(ConfigError, match="must be a multiple of the 2 architectures"):
        model.learn(32)


def test_unknown_samplers_and_buffers_are_refused(make_agent):
    from stable_baselines3.common.buffers import RolloutBuffer

    with pytest.raises(UnknownNameError, match="sampler of architectures 'biase', did you mean 'biased'"):
        make_agent(sampler="biase")
    with pytest.raises(ConfigError, match="leave rollout_buffer_class out"):
        make_agent(rollout_buffer_class=RolloutBuffer)


@pytest.mark.parametrize(
    ("envs", "batch_size", "count"), [(1, 16, 1), (2, 16, 2), (4, 16, 4), (8, 16, 4), (8, 24, 4), (9, 6, 3)]
)
def test_a_rollout_has_as_many_architectures_as_fit_unless_it_is_told(make_agent, envs, batch_size, count):
    # Six there are, so that eight are too many.
    model = make_agent(make_vec_env(PointEnv, envs), n_architectures=None, batch_size=batch_size)
    model.learn(8 * envs)
    assert len(model._drawn) == count


def test_a_loaded_agent_may_go_on_with_another_number_of_environments(make_agent, tmp_path):
    make_agent(n_architectures=None).learn(64).save(tmp_path / "model")
    loaded = HyperPPO.load(
        tmp_path / "model", env=make_vec_env(PointEnv, 2), device="cpu", custom_objects={"n_envs": 2}
    )
    loaded.learn(32)
    assert len(loaded._drawn) == 2
