"""Settings of the policy that are refused before anything is built."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from stable_baselines3.common.torch_layers import FlattenExtractor
from torch import nn

from hyperrl import registry
from hyperrl.errors import ConfigError, unknown_name
from hyperrl.nets.architectures import ArchitectureSpace
from hyperrl.nets.architectures.generators import WeightGenerator
from hyperrl.nets.architectures.packing import KERNELS
from hyperrl.ranges import whole

# Hidden activations that generated policies can have, by the modules that Stable-Baselines3 knows them by.
ACTIVATION_NAMES: Mapping[type[nn.Module], str] = {nn.ReLU: "relu", nn.Tanh: "tanh"}
# Generated networks take the observation itself, and their actions are not squashed. Saved policies have
# these settings as Stable-Baselines3 writes them.
_NOT_TAKEN: Mapping[str, tuple[Any, ...]] = {
    "use_sde": (False,),
    "squash_output": (False,),
    "features_extractor_class": (FlattenExtractor,),
    "features_extractor_kwargs": (None, {}),
    "share_features_extractor": (True,),
}


def check_settings(
    net_arch: Any, activation_fn: Any, kernel: Any, others: Mapping[str, Any]
) -> tuple[list[int], type[nn.Module]]:
    """Refuse what the policy cannot be built with.

    Args:
        net_arch: Hidden widths of the critic.
        activation_fn: Hidden activation.
        kernel: How networks are applied together.
        others: Further arguments of the policy.

    Returns:
        The first two as they are to be used.

    Raises:
        ConfigError: A setting is wrong.
        UnknownNameError: There is no such activation or kernel.
    """
    for name, right in _NOT_TAKEN.items():
        if name in others and others[name] not in right:
            raise ConfigError(
                f"HyperPPO's networks take flat observations and have Gaussian actions: leave {name} out"
            )
    if not isinstance(net_arch, Sequence) or isinstance(net_arch, str):
        raise ConfigError(
            f"net_arch must be the hidden widths of the critic, such as [64, 64], got {net_arch!r}: those of "
            f"the policies are architectures"
        )
    if activation_fn not in ACTIVATION_NAMES:
        raise unknown_name(
            "hidden activation of generated policies",
            getattr(activation_fn, "__name__", repr(activation_fn)),
            [known.__name__ for known in ACTIVATION_NAMES],
        )
    if kernel not in ("auto", *KERNELS):
        raise unknown_name("kernel", str(kernel), ("auto", *KERNELS))
    return [int(whole(1, 1e6).check("a width in net_arch", width)) for width in net_arch], activation_fn


def build_generator(
    chosen: str | type[WeightGenerator], space: ArchitectureSpace, options: Mapping[str, Any]
) -> WeightGenerator:
    """Build a generator of weights.

    Args:
        chosen: Its registered name, or its class.
        space: The architectures.
        options: Its further arguments.

    Raises:
        UnknownNameError: There is no such generator, or it has no such option.
        ConfigError: It is neither a name nor a class of generators, or an option is out of range.
    """
    cls = registry.generators.get(chosen) if isinstance(chosen, str) else chosen
    if not isinstance(cls, type) or not issubclass(cls, WeightGenerator):
        raise ConfigError(
            f"generator must be a name from `hyperrl list generators` or a WeightGenerator class, got "
            f"{chosen!r}"
        )
    parameters = list(inspect.signature(cls).parameters.values())[1:]
    valid = [parameter.name for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD]
    for name in options:
        if name not in valid and len(valid) == len(parameters):
            raise unknown_name(f"option of {cls.__name__}", name, valid)
    return cls(space, **options)
