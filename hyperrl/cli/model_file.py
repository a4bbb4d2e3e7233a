"""Loading a model file of Stable-Baselines3 for a verb, with its environment and its `VecNormalize`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hyperrl.errors import UsageError

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.vec_env import VecNormalize


def load_model_file(
    path: Path, *, agent: str | None, env: str | None, vec_normalize: Path | None, trusted: bool
) -> tuple[BaseAlgorithm, VecNormalize | None]:
    """Load a model file, if whoever asks says that it is trusted.

    Args:
        path: The .zip file.
        agent: Name of its agent.
        env: Id of its environment.
        vec_normalize: The file of its `VecNormalize`, None for none.
        trusted: Whether somebody said that loading it may run code.

    Returns:
        The algorithm, on one environment, and its `VecNormalize`.

    Raises:
        UsageError: There is no such file, it is not trusted, or it cannot be loaded as that agent.
    """
    if not path.is_file():
        raise UsageError(f"there is no file {path}: give a run folder or a model file of Stable-Baselines3")
    if not trusted:
        raise UsageError(
            f"{path} can run code when it is loaded: add --trust-pickle if you trust where it comes from"
        )
    if agent is None or env is None:
        raise UsageError(
            f"{path} does not say how it was trained: add --agent and --env, for example --agent td3"
        )
    from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

    from hyperrl.environments import make_env, make_vec_env
    from hyperrl.registry import agents

    algorithm = agents.get(agent)
    venv = make_vec_env(env, {}, 1, 0)
    try:
        # Nothing is learned here: one transition of memory is enough.
        model = algorithm.load(path, env=venv, device="cpu", custom_objects={"buffer_size": 1})
        normalizer = (
            None
            if vec_normalize is None
            else VecNormalize.load(str(vec_normalize), DummyVecEnv([lambda: make_env(env)]))
        )
    except Exception as error:  # A file that is no such model can fail in any of its parts, in any way.
        venv.close()
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UsageError(f"{path} cannot be loaded as {agent} on {env}: {reason}") from error
    return model, normalizer
