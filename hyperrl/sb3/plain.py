"""Plain policies of Stable-Baselines3's algorithms, and of all that act as those do."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import ArrayLike
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.vec_env import VecNormalize
from torch import nn

from hyperrl.errors import ConfigError, ContextError, ExportError, NonFiniteError, UnsupportedSpaceError
from hyperrl.plain_policy import ActionHead, DenseLayer, ObservationNormaliser, PlainPolicy

SUPPORTED = (
    "supported are PPO, A2C, SAC, TD3, DDPG and the agents of hyperrl with an MlpPolicy, from a vector (Box) "
    "to a vector (Box)"
)
_PROBES = 16
# Of half the action range. What acts in a way of its own differs in the first digits, not in the last.
_SAME = 1e-3

_ACTIVATIONS: dict[type[nn.Module], str] = {
    nn.ReLU: "relu",
    nn.Tanh: "tanh",
    nn.ELU: "elu",
    nn.LeakyReLU: "leaky_relu",
    nn.Sigmoid: "sigmoid",
    nn.SiLU: "silu",
    nn.GELU: "gelu",
    nn.Softplus: "softplus",
    nn.Mish: "mish",
}
# What an activation of torch must have been built with: other constants are other functions.
_CONSTANTS = {"alpha": 1.0, "negative_slope": 0.01, "approximate": "none", "beta": 1.0, "threshold": 20.0}
# They do nothing to a vector when a policy acts.
_TRANSPARENT = (nn.Identity, nn.Dropout, nn.Flatten)


class SpecialiseMixin(BaseAlgorithm):
    """Gives an algorithm of Stable-Baselines3 the method `specialise`."""

    def specialise(self, *, vec_normalize: VecNormalize | None = None) -> PlainPolicy:
        """Return the actor as a plain policy, see `plain_policy`.

        Args:
            vec_normalize: What normalises its observations; None takes that of the agent's environment.

        Raises:
            UnsupportedSpaceError: Observations or actions are no vectors of numbers.
            ExportError: The network is more than dense layers.
            NonFiniteError: A weight is NaN or infinite.
        """
        return plain_policy(self, vec_normalize)


def specialise(
    model: Any,
    *,
    architecture: Sequence[int] | None = None,
    context: Mapping[str, float] | ArrayLike | None = None,
    vec_normalize: VecNormalize | None = None,
) -> PlainPolicy:
    """Fix whatever an agent's policy depends on besides the observation, and return the plain policy left.

    Args:
        model: An algorithm of hyperrl or of Stable-Baselines3.
        architecture: Widths of the hidden layers, for agents that have policies of several architectures.
        context: Values of the context's parameters by name, for agents that act by a context; what is missing
            takes its default.
        vec_normalize: What normalises its observations; None takes that of the agent's environment.

    Raises:
        ConfigError: The agent needs an architecture and none is given, or has only one and another is given.
        ContextError: The agent needs a context and none is given, or has none and one is given.
        UnsupportedSpaceError: Observations or actions are no vectors of numbers.
        ExportError: The network is more than dense layers.
        NonFiniteError: A weight is NaN or infinite.
    """
    own = getattr(model, "specialise", None)
    parameters = {} if own is None else dict(inspect.signature(own).parameters)
    name = type(model).__name__
    settings: dict[str, Any] = {}
    if own is None or "vec_normalize" in parameters:
        settings["vec_normalize"] = vec_normalize
    if "context" in parameters:
        settings["context"] = context
    elif context is not None:
        raise ContextError(f"{name} does not act by a context: leave the context out")
    if "architecture" in parameters:
        if architecture is None:
            raise ConfigError(f"{name} has policies of many architectures: say which one, for example 16,16")
        settings["architecture"] = list(architecture)
    policy = plain_policy(model, vec_normalize) if own is None else own(**settings)
    assert isinstance(policy, PlainPolicy)
    if architecture is not None and tuple(architecture) != policy.architecture:
        raise ConfigError(
            f"{name} has the one architecture {list(policy.architecture)}: "
            f"{list(architecture)} is not for it to choose"
        )
    return policy


def plain_policy(model: BaseAlgorithm, vec_normalize: VecNormalize | None = None) -> PlainPolicy:
    """Return the plain policy that acts as ``model.predict(deterministic=True)`` does.

    It is compared with the model's own answers to a few observations before it is returned.

    Args:
        model: An algorithm of Stable-Baselines3, or one that acts as those do.
        vec_normalize: What normalises its observations; None takes that of the model's environment.

    Raises:
        UnsupportedSpaceError: Observations or actions are no vectors of numbers.
        ExportError: The network is more than dense layers, or acts in another way.
        NonFiniteError: A weight is NaN or infinite.
    """
    check_vectors(model.observation_space, model.action_space)
    if vec_normalize is None:
        vec_normalize = model.get_vec_normalize_env()
    normaliser = normaliser_of(vec_normalize)
    modules, mean_clip, squashed = _modules_of(model.policy)
    head = head_of(model.action_space, squashed=squashed, mean_clip=mean_clip)
    policy = PlainPolicy(layers_of(modules), head, None)
    _check_same(policy, model)
    return PlainPolicy(policy.layers, head, normaliser)


def check_vectors(observation_space: spaces.Space[Any], action_space: spaces.Space[Any]) -> None:
    """Refuse spaces that a plain policy is not for.

    Args:
        observation_space: The agent's observations.
        action_space: The agent's actions.

    Raises:
        UnsupportedSpaceError: One is no vector of numbers.
    """
    for noun, space in (("observations", observation_space), ("actions", action_space)):
        if isinstance(space, spaces.Box) and len(space.shape) == 1:
            continue
        what = f"an array of shape {list(space.shape)}" if isinstance(space, spaces.Box) else str(space)
        raise UnsupportedSpaceError(f"{noun} that are {_short(what)} cannot be exported: {SUPPORTED}")


def normaliser_of(
    vec_normalize: VecNormalize | None, key: str | None = None, size: int | None = None
) -> ObservationNormaliser | None:
    """Return what a ``VecNormalize`` does to observations, None where it leaves them as they are.

    Args:
        vec_normalize: The wrapper, whose statistics are copied; None for none.
        key: Of observations that are dicts, the part that is meant.
        size: How many numbers of the observation are meant, the first ones; None for all.

    Raises:
        UnsupportedSpaceError: Its observations are no vectors.
        NonFiniteError: A statistic is NaN or infinite.
    """
    if vec_normalize is None or not vec_normalize.norm_obs:
        return None
    statistics: Any = vec_normalize.obs_rms
    if isinstance(statistics, dict) and key is not None:
        if key not in statistics:
            return None
        statistics = statistics[key]
    if not isinstance(statistics, RunningMeanStd) or np.ndim(statistics.mean) != 1:
        raise UnsupportedSpaceError(
            f"a VecNormalize of {_short(str(vec_normalize.observation_space))} cannot be exported: "
            f"{SUPPORTED}"
        )
    return ObservationNormaliser(
        statistics.mean[:size], statistics.var[:size], vec_normalize.epsilon, vec_normalize.clip_obs
    )


def head_of(
    action_space: spaces.Space[Any],
    *,
    squashed: bool = False,
    mean_limit: float | None = None,
    mean_clip: float = math.inf,
) -> ActionHead:
    """Return what ``predict`` does between the last layer and the action.

    Args:
        action_space: The agent's actions.
        squashed: Whether a tanh squashes them, so that they are un-scaled to their bounds, as in SAC and TD3;
            otherwise they are clipped, as in PPO.
        mean_limit: s, where the output is limited smoothly, s tanh(x / s), before it is clipped.
        mean_clip: The largest absolute value that goes into the tanh, as gSDE has it in SAC.

    Raises:
        UnsupportedSpaceError: The actions are no vector of numbers.
        ConfigError: Both a squash and a smooth limit are asked for.
    """
    if not isinstance(action_space, spaces.Box) or len(action_space.shape) != 1:
        raise UnsupportedSpaceError(
            f"actions that are {_short(str(action_space))} cannot be exported: {SUPPORTED}"
        )
    if squashed and mean_limit is not None:
        raise ConfigError("an action is either squashed by a tanh or limited smoothly, not both")
    low, high = action_space.low.astype(np.float32), action_space.high.astype(np.float32)
    if squashed:
        return ActionHead(low, high, "tanh", "unscale", mean_clip=mean_clip)
    unbounded = bool(np.isinf(low).all() and np.isinf(high).all())
    squash, scale = ("none", 1.0) if mean_limit is None else ("scaled_tanh", float(mean_limit))
    return ActionHead(low, high, squash, "none" if unbounded else "clip", scale, mean_clip)  # type: ignore[arg-type]


def layers_of(modules: Iterable[nn.Module]) -> tuple[DenseLayer, ...]:
    """Return the dense layers of modules that are applied one after the other.

    Args:
        modules: Linear layers and activations, also within ``nn.Sequential``.

    Raises:
        ExportError: There is something else among them.
        NonFiniteError: A weight is NaN or infinite.
    """
    layers: list[DenseLayer] = []
    for module in _flat(modules):
        if type(module) is nn.Linear:
            bias = torch.zeros(module.out_features) if module.bias is None else module.bias
            layers.append(DenseLayer(_numbers(module.weight), _numbers(bias)))
            continue
        name = _ACTIVATIONS.get(type(module))
        usual = all(getattr(module, key, value) == value for key, value in _CONSTANTS.items())
        if name is None or not usual or not layers or layers[-1].activation != "identity":
            raise ExportError(
                f"a policy with {_short(str(module))} at this place of its network cannot be exported: dense "
                f"layers with one of {', '.join(kind.__name__ for kind in _ACTIVATIONS)} behind each can"
            )
        layers[-1] = DenseLayer(layers[-1].weight, layers[-1].bias, name)
    if not layers:
        raise ExportError("a policy without a dense layer cannot be exported")
    return tuple(layers)


def acting(
    model: Any,
    vec_normalize: VecNormalize | None = None,
    *,
    architecture: Sequence[int] | None = None,
    context: Mapping[str, float] | ArrayLike | None = None,
) -> Callable[[Any], Any]:
    """Return the trained model itself as a function from raw observations to deterministic actions.

    Observations are those that its plain policy takes: without the context, for agents with contexts.

    Args:
        model: An algorithm of Stable-Baselines3, or one that acts as those do.
        vec_normalize: What normalises its observations; None takes that of the model's environment.
        architecture: Which of its policies acts, for agents that have policies of several architectures.
        context: The context that it acts in, for agents with contexts.
    """
    if vec_normalize is None:
        vec_normalize = model.get_vec_normalize_env()
    chooses = architecture is not None and "architecture" in inspect.signature(model.predict).parameters
    settings = {"architecture": list(architecture)} if chooses and architecture is not None else {}

    complete = getattr(model, "complete", None)

    def act(observations: Any) -> Any:
        if complete is not None:
            observations = complete(observations, context)
        if vec_normalize is not None:
            observations = vec_normalize.normalize_obs(observations)
        return model.predict(observations, deterministic=True, **settings)[0]

    return act


def _modules_of(policy: Any) -> tuple[list[nn.Module], float, bool]:
    """Return an actor's modules without a last tanh, the limit of its input, and whether there is one."""
    if isinstance(policy, ActorCriticPolicy) and hasattr(policy, "mlp_extractor"):
        _check_features(policy.pi_features_extractor)
        modules = [policy.mlp_extractor.policy_net, policy.action_net]
        return modules, math.inf, bool(policy.squash_output)
    actor = getattr(policy, "actor", None)
    if not isinstance(actor, nn.Module) or not hasattr(actor, "mu"):
        raise ExportError(f"a policy of the class {type(policy).__name__} cannot be exported: {SUPPORTED}")
    _check_features(getattr(actor, "features_extractor", None))
    latent: Any = getattr(actor, "latent_pi", None)
    head: Any = actor.mu
    modules = list(_flat([head] if latent is None else [latent, head]))
    if latent is None:
        squashed = type(modules[-1]) is nn.Tanh
        return modules[:-1] if squashed else modules, math.inf, squashed
    last = modules[-1]
    if isinstance(last, nn.Hardtanh) and last.min_val == -last.max_val:
        return modules[:-1], float(last.max_val), True
    return modules, math.inf, True


def _check_features(extractor: Any) -> None:
    if type(extractor) is not FlattenExtractor:
        raise ExportError(
            f"a policy with a {type(extractor).__name__} before its layers cannot be exported: {SUPPORTED}"
        )


def _check_same(policy: PlainPolicy, model: BaseAlgorithm) -> None:
    """Refuse a policy that acts in a way of its own: recurrent, with a `predict` of its own, and so on."""
    generator = np.random.default_rng(0)
    observations = generator.normal(size=(_PROBES, policy.sizes[0])).astype(np.float32)
    try:
        expected, _ = model.predict(observations, deterministic=True)
    except NonFiniteError:
        raise
    except Exception as error:  # It runs code of another package, which can fail in any way.
        raise ExportError(
            f"{type(model).__name__} cannot be exported, as it does not act on a vector alone ({error}): "
            f"{SUPPORTED}"
        ) from error
    scale = policy.head.half_range * np.maximum(1, np.abs(expected) if policy.head.bound == "none" else 1)
    if (
        np.shape(expected) != (_PROBES, policy.sizes[-1])
        or (np.abs(policy(observations) - expected) > _SAME * scale).any()
    ):
        raise ExportError(
            f"{type(model).__name__} cannot be exported: it does not act as its dense layers alone do; "
            f"{SUPPORTED}"
        )


def _flat(modules: Iterable[nn.Module]) -> Iterable[nn.Module]:
    for module in modules:
        if isinstance(module, nn.Sequential):
            yield from _flat(module)
        elif not isinstance(module, _TRANSPARENT):
            yield module


def _numbers(tensor: torch.Tensor) -> Any:
    return tensor.detach().cpu().float().numpy()


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 80 else f"{line[:77]}..."
