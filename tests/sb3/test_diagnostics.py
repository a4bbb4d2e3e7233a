"""What the logger gets, against a direct computation and in a real event file."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch as th
from stable_baselines3.common.torch_layers import FlattenExtractor
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from hyperrl import HyperSAC, HyperTD3
from hyperrl.sb3.diagnostics import CriticDiagnostics, LossMeans, gradient_norm
from tests.sb3.toys import SMALL, TINY, DictEnv, PointEnv


class RecordingLogger:
    """Keeps what is recorded."""

    def __init__(self):
        self.values = {}

    def record(self, key, value, exclude=None):
        self.values[key] = value


def recorded(measurer):
    logger = RecordingLogger()
    measurer.record(logger)
    return logger.values


def built(**kwargs):
    return HyperTD3("MlpPolicy", PointEnv(), policy_kwargs={"critic": TINY, **kwargs}, seed=1, **SMALL)


def test_the_measurements_equal_a_direct_computation():
    critic = built(n_critics=3).critic
    batch = SimpleNamespace(observations=th.randn(16, 3), actions=th.rand(16, 2))
    values = critic(batch.observations, batch.actions)
    sum((value**2).mean() for value in values).backward()
    diagnostics = CriticDiagnostics(critic, every=1)
    diagnostics.observe(1, batch, values)
    found = recorded(diagnostics)

    hyper = critic.q_networks[0].hyper
    spec, generated = hyper.spec, hyper(batch.observations).as_dict()
    base = spec.unflatten(hyper.theta0())
    for name, value in generated.items():
        expected = (value - base[name]).square().mean().sqrt() / base[name].square().mean().sqrt()
        assert found.pop(f"hyper/delta_over_theta0/{name}") == pytest.approx(expected.item(), rel=1e-4)
    # The head starts at a tenth of the plain network's size.
    assert 0.03 < expected.item() < 0.3
    # The features are normalised to the square root of their number.
    assert found.pop("hyper/feature_norm") == pytest.approx(TINY["features"] ** 0.5, rel=1e-3)
    for name, module in (("primary", hyper.trunk), ("head", hyper.head)):
        flat = th.cat([parameter.grad.flatten() for parameter in module.parameters()])
        assert found.pop(f"hyper/grad_norm_{name}") == pytest.approx(flat.norm().item(), rel=1e-5)
    stacked = th.stack(values, dim=0).detach()
    assert found.pop("hyper/q_mean") == pytest.approx(stacked.mean().item(), rel=1e-5)
    assert found.pop("hyper/q_std") == pytest.approx(stacked.numpy().std(), rel=1e-4)
    assert found.pop("hyper/q_min") == stacked.min().item()
    assert found.pop("hyper/q_max") == stacked.max().item()
    spread = (stacked.max(0).values - stacked.min(0).values).mean().item()
    assert found.pop("hyper/q_disagreement") == pytest.approx(spread, rel=1e-5)
    assert found == {}


def test_they_are_taken_at_the_first_update_and_then_at_their_interval():
    critic = built().critic
    diagnostics = CriticDiagnostics(critic, every=10)
    batch = SimpleNamespace(observations=th.randn(4, 3), actions=th.rand(4, 2))

    def means(updates):
        for update in updates:
            diagnostics.observe(update, batch, [th.full((4, 1), float(update))])
        return recorded(diagnostics)["hyper/q_mean"]

    assert means([4]) == 4
    assert means(range(5, 11)) == 4
    assert means(range(11, 21)) == 11


def test_one_value_of_one_transition_has_no_spread():
    critic = built(n_critics=1).critic
    diagnostics = CriticDiagnostics(critic, every=1)
    batch = SimpleNamespace(observations=th.randn(1, 3), actions=th.rand(1, 2))
    diagnostics.observe(1, batch, critic(batch.observations, batch.actions))
    assert recorded(diagnostics)["hyper/q_std"] == 0


def test_measuring_changes_nothing():
    def run(every):
        model = built()
        model._diagnostics.every = every
        return th.nn.utils.parameters_to_vector(model.learn(60).policy.parameters())

    assert th.equal(run(1), run(1000))


def test_means_of_losses():
    means = LossMeans()
    for value in (1.0, 2.0, 6.0):
        means.add("critic_loss", th.tensor(value))
    means.add("actor_loss", th.tensor(5.0))
    assert recorded(means) == {"train/critic_loss": 3.0, "train/actor_loss": 5.0}


def test_a_module_without_gradients_has_norm_zero():
    assert gradient_norm(th.nn.Linear(2, 2)) == 0.0


@pytest.mark.parametrize(
    ("cls", "policy", "env", "of_its_own"),
    [
        (HyperTD3, "MlpPolicy", PointEnv, set()),
        (HyperTD3, "MultiInputPolicy", DictEnv, set()),
        (HyperSAC, "MlpPolicy", PointEnv, {"train/ent_coef", "train/ent_coef_loss"}),
    ],
)
def test_the_event_file_holds_the_scalars(cls, policy, env, of_its_own, tmp_path):
    kwargs = {"policy_kwargs": {"critic": TINY}, "tensorboard_log": str(tmp_path), **SMALL}
    cls(policy, env(), **kwargs).learn(80, log_interval=1)
    events = EventAccumulator(str(tmp_path / f"{cls.__name__}_1")).Reload()
    tags = set(events.Tags()["scalars"])
    assert {
        "train/critic_loss",
        "train/actor_loss",
        "train/learning_rate",
        "train/critic_learning_rate",
        "hyper/delta_over_theta0/layers.0.weight",
        "hyper/feature_norm",
        "hyper/grad_norm_primary",
        "hyper/grad_norm_head",
        "hyper/q_mean",
        *of_its_own,
    } <= tags
    assert all(event.value > 0 for event in events.Scalars("train/critic_loss"))


class NormalisingExtractor(FlattenExtractor):
    """Observations normalised by the batch."""

    def __init__(self, observation_space):
        super().__init__(observation_space)
        self.norm = th.nn.BatchNorm1d(self.features_dim)

    def forward(self, observations):
        return self.norm(super().forward(observations))


def test_measuring_leaves_the_batch_statistics_of_an_extractor_alone():
    kwargs = {"critic": TINY, "net_arch": [8], "features_extractor_class": NormalisingExtractor}
    model = HyperTD3("MlpPolicy", PointEnv(), policy_kwargs=kwargs, **SMALL).learn(30)
    model.policy.set_training_mode(True)
    batch = model.replay_buffer.sample(16)
    norm = model.critic.features_extractor.norm
    before = norm.num_batches_tracked.clone()
    values = [th.zeros(16, 1), th.ones(16, 1)]
    CriticDiagnostics(model.critic).observe(1, batch, values)
    assert norm.num_batches_tracked == before
    assert norm.training
