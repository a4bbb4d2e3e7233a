"""A verb: make a run folder of a model that Stable-Baselines3 saved, so that all other verbs work with it."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stable_baselines3.common.save_util import load_from_zip_file

from hyperrl.agent_arguments import build_agent, build_agent_kwargs, check_agent_kwargs
from hyperrl.config import RunConfig
from hyperrl.environments import check_spaces, make_env, make_vec_env
from hyperrl.errors import CheckpointCorruptError, CheckpointError, ConfigError, UnsafeFileError
from hyperrl.registry import agents
from hyperrl.run import RunFolder
from hyperrl.run.adopt import write_only_checkpoint

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

# Weights hardly shrink when they are packed; what shrinks more than this is made to fill the memory.
_RATIO = 100
_UNPACKED_BYTES = 64 * 2**20


def import_model(
    file: str | Path, config: RunConfig, *, trust_pickle: bool = False, steps: int | None = None
) -> RunFolder:
    """Make a run folder with the weights and optimisers of a model of Stable-Baselines3.

    The file's hyperparameters are pickled Python objects and are never read, trusted or not: the
    configuration says what they were. Weights are read by torch's restricted unpickler.

    A model file has no replay buffer. `resume` first collects `learning_starts` new transitions with the
    policy's own actions and noise, and only then makes updates; nor does it act at random again.

    Args:
        file: What `model.save` wrote, a .zip file.
        config: The run that the model came from, but for its length.
        trust_pickle: Whether the file may be opened although it holds pickles.
        steps: The length of the whole run; None takes what the model was to be trained for.

    Returns:
        The new folder, with one checkpoint.

    Raises:
        UnsafeFileError: `trust_pickle` is False.
        CheckpointError: There is no such file, or its networks have other shapes than the configuration's.
        CheckpointCorruptError: The file is damaged or no model of Stable-Baselines3.
        ConfigError: `steps` is less than what the model was trained for.
        HyperRLError: The configuration is wrong, or its folder is taken.
    """
    if config.seeds > 1:
        raise ConfigError(f"a model file holds one agent: seeds must be 1, got {config.seeds}")
    path = Path(file).expanduser().absolute()
    if not path.is_file():
        raise CheckpointError(f"there is no file {path}: give the .zip file that model.save wrote")
    if not trust_pickle:
        raise UnsafeFileError(
            f"{path} holds pickles, which can run code when they are loaded: add --trust-pickle if you trust "
            "where it comes from"
        )
    done, planned, parameters = _read(path)
    if steps is not None and steps < done:
        raise ConfigError(f"steps must be at least the {done:,} that the model was trained for, got {steps}")
    # A run is longer than its warm-up, even where the model's own was not over.
    shortest = int(config.agent_kwargs.get("learning_starts", 0)) + 1
    config = dataclasses.replace(config, steps=max(done, planned, shortest) if steps is None else steps)
    place = RunFolder.place(config)
    agent = _build(config)
    try:
        try:
            agent.set_parameters(parameters, exact_match=True, device="cpu")
        except (ValueError, RuntimeError, KeyError, AttributeError) as error:
            raise CheckpointError(
                f"{path} does not fit {config.agent} on {config.env}: {_first_line(error)}; give the "
                "arguments that it was trained with, for example --set policy_kwargs.net_arch=[64,64]"
            ) from error
        folder = RunFolder.create(config, place)
        with folder.lock:
            write_only_checkpoint(agent, config, folder, done)
            folder.set_status("stopped", done)
        return folder
    finally:
        if agent.env is not None:
            agent.env.close()


def _read(path: Path) -> tuple[int, int, dict[str, Any]]:
    """Return the steps that a model has done, those that it was to do, and its weights and optimisers."""
    try:
        with zipfile.ZipFile(path) as archive:
            _refuse_bomb(path, archive)
            data = json.loads(archive.read("data"))
            done, planned = int(data["num_timesteps"]), int(data.get("_total_timesteps", 0))
        _, parameters, variables = load_from_zip_file(path, load_data=False, device="cpu")
    except CheckpointCorruptError:
        raise
    # A file that is no such model can fail in any of its parts, in any way.
    except Exception as error:
        raise CheckpointCorruptError(
            f"{path} cannot be read as a model of Stable-Baselines3: {_first_line(error)}"
        ) from error
    if "policy" not in parameters or done < 0:
        raise CheckpointCorruptError(
            f"{path} cannot be read as a model of Stable-Baselines3: it has no policy"
        )
    return done, planned, {**parameters, **(variables or {})}


def _refuse_bomb(path: Path, archive: zipfile.ZipFile) -> None:
    """Refuse an archive that would not fit into memory, without unpacking it."""
    unpacked = sum(member.file_size for member in archive.infolist())
    if unpacked > _UNPACKED_BYTES + _RATIO * path.stat().st_size:
        raise CheckpointCorruptError(
            f"{path} cannot be read as a model of Stable-Baselines3: it would unpack to {unpacked:,} bytes"
        )


def _build(config: RunConfig) -> BaseAlgorithm:
    cls = agents.get(config.agent)
    check_agent_kwargs(config.agent, cls, config.policy, config.agent_kwargs, config.steps)
    env = make_env(config.env, config.env_kwargs)
    try:
        size = check_spaces(env, config.agent, config.policy)
    finally:
        env.close()
    venv = make_vec_env(config.env, config.env_kwargs, config.n_envs, 0)
    settings = {"seed": 0, "device": "cpu", **build_agent_kwargs(config.agent_kwargs, size)}
    return build_agent(config.agent, cls, config.policy, venv, settings)


def _first_line(error: Exception) -> str:
    lines = [" ".join(line.split()) for line in str(error).strip().splitlines()]
    # Torch's first line is a heading, its second names the first weight.
    return lines[1 if len(lines) > 1 and lines[0].startswith("Error(s)") else 0] if lines else ""
