"""Checkpoints: a policy's weights as safetensors, with Stable-Baselines3's own file beside them.

Loading reads the safetensors and JSON only. `model.zip` is there for `Algorithm.load` of Stable-Baselines3,
which unpickles: open only files of your own with it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from hyperrl.errors import NonFiniteError, RunFolderError
from hyperrl.run.files import replaced_folder, write_json

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.policies import BasePolicy


def save_checkpoint(agent: BaseAlgorithm, path: Path) -> None:
    """Write a checkpoint, replacing an older one of that name only when the new one is complete.

    Args:
        agent: The algorithm.
        path: The checkpoint's folder; it gets `policy.safetensors`, `model.zip` and `checkpoint.json`.

    Raises:
        NonFiniteError: A weight is NaN or infinite; the older checkpoint stays.
        OSError: The folder cannot be written; the older checkpoint stays.
    """
    # Copies, because tensors that share memory are refused by safetensors.
    weights = {
        name: tensor.detach().cpu().clone().contiguous() for name, tensor in agent.policy.state_dict().items()
    }
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise NonFiniteError(
                f"the weight {name} of the policy is not finite after {agent.num_timesteps} steps"
            )
    with replaced_folder(path) as filling:
        save_file(weights, filling / "policy.safetensors")
        agent.save(filling / "model.zip")
        write_json(
            filling / "checkpoint.json", {"steps": agent.num_timesteps, "policy": type(agent.policy).__name__}
        )


def load_policy(policy: BasePolicy, path: Path) -> int:
    """Read the weights of a checkpoint into a policy of the same shape, unpickling nothing.

    Args:
        policy: The policy to fill.
        path: The checkpoint's folder.

    Returns:
        The environment steps that the weights had been trained for.

    Raises:
        RunFolderError: A file is missing or damaged, or the weights belong to another policy.
    """
    try:
        weights = load_file(path / "policy.safetensors")
        steps = int(json.loads((path / "checkpoint.json").read_text(encoding="utf-8"))["steps"])
    except (OSError, ArithmeticError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise RunFolderError(f"the checkpoint {path} cannot be read: {error}") from error
    own = policy.state_dict()
    for name in sorted({*own, *weights}):
        there = tuple(weights[name].shape) if name in weights else "missing"
        wanted = tuple(own[name].shape) if name in own else "no such weight"
        if there != wanted:
            raise RunFolderError(
                f"the checkpoint {path} does not fit the policy of its run: {name} is {there} in the file "
                f"and {wanted} in the policy"
            )
    policy.load_state_dict(weights)
    return steps
