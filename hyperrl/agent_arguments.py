"""Keyword arguments of an algorithm: checked against its signature and ranges, then built from TOML."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hyperrl.errors import ConfigError, HyperRLError, unknown_name
from hyperrl.ranges import Range, above, between, whole

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.vec_env import VecEnv

# Set by the run itself; a second value among the agent's arguments would contradict the first.
_OF_THE_RUN = ("policy", "env", "seed", "device", "tensorboard_log", "verbose")
_POLICY_OF_THE_RUN = ("observation_space", "action_space", "lr_schedule")

_RANGES = {
    "learning_rate": above(0, 1),
    "buffer_size": whole(1, 1e9),
    "learning_starts": whole(0, 1e12),
    "batch_size": whole(1, 1e7),
    "tau": above(0, 1),
    "gamma": above(0, 1),
    "gradient_steps": whole(-1, 1e6),
    "policy_delay": whole(1, 1e6),
    "target_policy_noise": between(0, 100),
    "target_noise_clip": between(0, 100),
    "n_steps": whole(1, 1e6),
    "target_update_interval": whole(1, 1e9),
    "sde_sample_freq": whole(-1, 1e9),
    "stats_window_size": whole(1, 1e6),
    "n_epochs": whole(1, 1e6),
    "gae_lambda": between(0, 1),
    "clip_range": above(0, 1e6),
    "clip_range_vf": above(0, 1e6),
    "vf_coef": between(0, 1e6),
    "max_grad_norm": above(0, 1e9),
    "target_kl": above(0, 1e6),
}
_FLAGS = ("optimize_memory_usage", "use_sde", "use_sde_at_warmup", "normalize_advantage")
_NUMBER_OR_AUTO = {"ent_coef": above(0, 1e6), "target_entropy": Range(-1e6, 1e6)}
# Where an agent's default is a number, no word stands for one, and the entropy need not count.
_NUMBER_ONLY = {"ent_coef": between(0, 1e6)}
_PRECISIONS = ("highest", "high", "medium")
_NOISES = ("normal", "ornstein-uhlenbeck", "none")
_ACTIVATIONS = ("ELU", "GELU", "LeakyReLU", "Mish", "ReLU", "SiLU", "Softplus", "Tanh")
_OPTIMIZERS = ("Adam", "AdamW", "RMSprop", "SGD")


def parameters_of(cls: type[Any]) -> dict[str, inspect.Parameter]:
    """Return the named parameters of a constructor, following `**kwargs` to the base classes.

    Args:
        cls: The class.
    """
    found: dict[str, inspect.Parameter] = {}
    for base in cls.__mro__:
        if "__init__" not in vars(base):
            continue
        own = list(inspect.signature(vars(base)["__init__"]).parameters.values())[1:]
        passes_on = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in own)
        for parameter in own:
            if parameter.kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY):
                found.setdefault(parameter.name, parameter)
        if not passes_on:
            break
    return found


def agent_parameters(cls: type[Any]) -> dict[str, inspect.Parameter]:
    """Return the arguments of an algorithm that a configuration can give.

    Args:
        cls: A Stable-Baselines3 algorithm.
    """
    return {
        name: parameter
        for name, parameter in parameters_of(cls).items()
        if name not in _OF_THE_RUN and not name.startswith("_")
    }


def check_agent_kwargs(
    agent: str, cls: type[Any], policy: str, kwargs: Mapping[str, Any], steps: int
) -> None:
    """Refuse wrong keyword arguments of an algorithm before anything is built.

    Args:
        agent: The agent's name, for messages.
        cls: Its class.
        policy: Name of the policy.
        kwargs: The keyword arguments as TOML values.
        steps: How long the run is to be.

    Raises:
        UnknownNameError: An argument, the policy or a named class is unknown.
        ConfigError: A value has the wrong type, is out of range, or contradicts another one.
    """
    aliases: Mapping[str, type[Any]] = getattr(cls, "policy_aliases", {})
    if policy not in aliases:
        raise unknown_name(f"policy of {agent}", policy, aliases)
    parameters = agent_parameters(cls)
    for name, value in kwargs.items():
        if name in _OF_THE_RUN:
            raise ConfigError(
                f"{name} belongs to the run, not to the arguments of {agent}: leave it out there"
            )
        if name not in parameters:
            raise unknown_name(f"argument of {agent}", name, parameters)
        _check_argument(name, value, parameters[name].default)
    if kwargs.get("learning_starts", 0) >= steps:
        raise ConfigError(
            f"learning_starts must be less than the {steps} steps of the run or nothing is learned, "
            f"got {kwargs['learning_starts']}"
        )
    _check_policy_kwargs(policy, aliases[policy], kwargs.get("policy_kwargs", {}))


def build_agent_kwargs(kwargs: Mapping[str, Any], action_size: int) -> dict[str, Any]:
    """Turn checked TOML values into what the constructor takes.

    Args:
        kwargs: Keyword arguments that `check_agent_kwargs` accepted.
        action_size: Number of action dimensions, for the noise.

    Returns:
        New keyword arguments, with noise objects, tuples and classes in place.
    """
    import torch

    built: dict[str, Any] = {
        name: _RANGES[name].check(name, value) if name in _RANGES else value for name, value in kwargs.items()
    }
    if "action_noise" in built:
        built["action_noise"] = _build_noise(built["action_noise"], action_size)
    if isinstance(built.get("train_freq"), Sequence):
        built["train_freq"] = tuple(built["train_freq"])
    policy_kwargs = dict(built.get("policy_kwargs", {}))
    if "activation_fn" in policy_kwargs:
        policy_kwargs["activation_fn"] = getattr(torch.nn, policy_kwargs["activation_fn"])
    if "optimizer_class" in policy_kwargs:
        policy_kwargs["optimizer_class"] = getattr(torch.optim, policy_kwargs["optimizer_class"])
    if policy_kwargs:
        built["policy_kwargs"] = policy_kwargs
    return built


def build_agent(
    agent: str, cls: type[Any], policy: str, env: VecEnv, kwargs: Mapping[str, Any]
) -> BaseAlgorithm:
    """Build an algorithm, closing its environments where it refuses them or its arguments.

    Args:
        agent: The agent's name, for messages.
        cls: Its class.
        policy: Name of the policy.
        env: The environments.
        kwargs: Keyword arguments as `build_agent_kwargs` returns them, seed and device added.

    Raises:
        HyperRLError: The algorithm cannot be built.
    """
    try:
        built: BaseAlgorithm = cls(policy, env, **kwargs)
    except HyperRLError:
        env.close()
        raise
    except Exception as error:  # Constructors fail in many ways, by lack of memory where sizes are too large.
        env.close()
        sentence = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(f"{agent} cannot be built with these arguments: {sentence}") from error
    return built


def _check_argument(name: str, value: Any, default: Any) -> None:
    if name in _RANGES:
        _RANGES[name].check(name, value)
        if name == "gradient_steps" and value == 0:
            raise ConfigError("gradient_steps must be -1 (as many as steps taken) or at least 1, got 0")
    elif name in _FLAGS:
        if not isinstance(value, bool):
            raise ConfigError(f"{name} must be true or false, got {value!r}")
    elif name in _NUMBER_ONLY and isinstance(default, float):
        _NUMBER_ONLY[name].check(name, value)
    elif name in _NUMBER_OR_AUTO:
        _check_number_or_auto(name, value, _NUMBER_OR_AUTO[name])
    elif name in _CHECKS:
        _CHECKS[name](value)
    elif name.endswith("learning_rate"):
        _RANGES["learning_rate"].check(name, value)
    else:
        _check_finite(name, value)


def _check_number_or_auto(name: str, value: Any, allowed: Range) -> None:
    if not isinstance(value, str):
        allowed.check(name, value)
        return
    word, _, start = value.partition("_")
    try:
        right = word == "auto" and (not start or (name == "ent_coef" and 0 < float(start) < math.inf))
    except ValueError:
        right = False
    if not right:
        raise ConfigError(f"{name} must be 'auto' or {allowed.describe()}, got {value!r}")


def _check_compile(value: Any) -> None:
    if not isinstance(value, bool) and value != "auto":
        raise ConfigError(f"compile must be true, false or 'auto', got {value!r}")


def _check_precision(value: Any) -> None:
    if value not in _PRECISIONS:
        raise unknown_name("precision", str(value), _PRECISIONS)


def _check_train_freq(value: Any) -> None:
    if not isinstance(value, Sequence) or isinstance(value, str):
        whole(1).check("train_freq", value)
        return
    if len(value) != 2 or value[1] not in ("step", "episode"):
        raise ConfigError(
            f"train_freq must be a whole number or [number, 'step' or 'episode'], got {value!r}"
        )
    whole(1).check("train_freq[0]", value[0])


def _check_noise(value: Any) -> None:
    if not isinstance(value, Mapping) or "kind" not in value:
        raise ConfigError(f"action_noise must be a table such as {{kind='normal', sigma=0.1}}, got {value!r}")
    for key in value:
        if key not in ("kind", "sigma"):
            raise unknown_name("key of action_noise", key, ("kind", "sigma"))
    if value["kind"] not in _NOISES:
        raise unknown_name("kind of action_noise", str(value["kind"]), _NOISES)
    between(0).check("action_noise.sigma", value.get("sigma", 0.1))


_CHECKS: dict[str, Callable[[Any], None]] = {
    "compile": _check_compile,
    "precision": _check_precision,
    "train_freq": _check_train_freq,
    "action_noise": _check_noise,
}


def _check_policy_kwargs(policy: str, cls: type[Any], kwargs: Any) -> None:
    if not isinstance(kwargs, Mapping):
        raise ConfigError(f"policy_kwargs must be a table of names and values, got {kwargs!r}")
    valid = {name for name in parameters_of(cls) if name not in _POLICY_OF_THE_RUN}
    for name, value in kwargs.items():
        if name not in valid:
            raise unknown_name(f"argument of {policy}", name, valid)
        if name == "net_arch":
            _check_widths("policy_kwargs.net_arch", value)
        elif name == "activation_fn" and value not in _ACTIVATIONS:
            raise unknown_name("activation", str(value), _ACTIVATIONS)
        elif name == "optimizer_class" and value not in _OPTIMIZERS:
            raise unknown_name("optimizer", str(value), _OPTIMIZERS)
        elif name == "n_critics":
            whole(1, 1000).check("policy_kwargs.n_critics", value)
        elif name in ("share_features_extractor", "normalize_images") and not isinstance(value, bool):
            raise ConfigError(f"policy_kwargs.{name} must be true or false, got {value!r}")
        _check_finite(f"policy_kwargs.{name}", value)


def _check_widths(name: str, value: Any) -> None:
    if isinstance(value, Mapping):
        for key, widths in value.items():
            if key not in ("pi", "qf", "vf"):
                raise unknown_name(f"key of {name}", key, ("pi", "qf", "vf"))
            _check_widths(f"{name}.{key}", widths)
        return
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise ConfigError(f"{name} must be a list of layer widths such as [256, 256], got {value!r}")
    for index, width in enumerate(value):
        whole(1, 1e6).check(f"{name}[{index}]", width)


def _check_finite(name: str, value: Any) -> None:
    if isinstance(value, Mapping):
        for key, item in value.items():
            _check_finite(f"{name}.{key}", item)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for index, item in enumerate(value):
            _check_finite(f"{name}[{index}]", item)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{name} must be finite, got {value!r}")


def _build_noise(table: Mapping[str, Any], action_size: int) -> Any:
    import numpy as np
    from stable_baselines3.common.noise import NormalActionNoise, OrnsteinUhlenbeckActionNoise

    if table["kind"] == "none":
        return None
    cls = NormalActionNoise if table["kind"] == "normal" else OrnsteinUhlenbeckActionNoise
    return cls(np.zeros(action_size), np.full(action_size, float(table.get("sigma", 0.1))))
