"""The third verb: from a trained agent to files that act the same on another machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray

from hyperrl.environments import make_env
from hyperrl.errors import BoundsError, ConfigError, ShapeError, UsageError
from hyperrl.evaluation.adaptation.specialising import AdaptedPolicy
from hyperrl.evaluation.rollout import Predictor, play_episode, play_episodes
from hyperrl.exporters.building import export_subject, prepare
from hyperrl.exporters.interface import interface_of
from hyperrl.exporters.subject import MAX_LOSS, Exported, Request, Subject
from hyperrl.loading import load_agent
from hyperrl.plain_policy import PlainPolicy
from hyperrl.ranges import between, whole
from hyperrl.registry import exporters
from hyperrl.run import RunFolder
from hyperrl.run.manifest import available_cores, git_commit, package_versions
from hyperrl.run.seeding import seeds_of_evaluation
from hyperrl.sb3.contexts.fixed import InOneContext, chosen_context
from hyperrl.sb3.contexts.observed import Context, Observed
from hyperrl.sb3.plain import acting, specialise

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.vec_env import VecNormalize

MakeEnv = Callable[[], gym.Env[Any, Any]]
# Observations that are looked at, and the episodes that they come from: several, for several beginnings.
_OBSERVATIONS = 1024
_ROLLOUT_EPISODES = 64
_PER_EPISODE = 256
# Observations are taken with the next seed.
_SEED = whole(0, 2**32 - 2)


@dataclass(frozen=True)
class Source:
    """A trained agent, and where it comes from.

    Attributes:
        model: The algorithm.
        make_env: Builds one of its environments, raw.
        provenance: JSON values for the manifest.
        folder: Where its exports lie by default.
        seed: The run's seed, which seeds of new episodes are derived from.
        vec_normalize: What normalises its observations; None takes that of the model's environment.
    """

    model: BaseAlgorithm
    make_env: MakeEnv
    provenance: dict[str, Any] = field(default_factory=dict)
    folder: Path = Path()
    seed: int = 0
    vec_normalize: VecNormalize | None = None


def export(
    source: str | Path | BaseAlgorithm | Source,
    formats: str | Sequence[str] = "c99",
    *,
    architecture: Sequence[int] | None = None,
    context: str | Context | None = None,
    out: str | Path | None = None,
    weights: str = "float32",
    checkpoint: str = "latest",
    episodes: int = 0,
    seed: int = 0,
    prefix: str = "policy",
    fold_normaliser: bool = False,
    overwrite: bool = False,
    max_loss: float = MAX_LOSS,
    env: str | MakeEnv | None = None,
    adapted: AdaptedPolicy | None = None,
) -> list[Exported]:
    """Export the policy of a run, or of an algorithm, in one or more formats.

    What appears acts as ``predict(deterministic=True)`` does: it was compared before.

    Args:
        source: A run's folder, an algorithm of hyperrl or Stable-Baselines3, or a `Source`.
        formats: Names of exporters: "c99", "onnx", "torch", "npz".
        architecture: Widths of the hidden layers, for agents that have policies of several architectures.
        context: For agents that act by a context: values by name, or text such as "mass=1.2,friction=0.8";
            what is missing takes its default.
        out: The folder to appear; with several formats, one folder for each appears in it. None takes
            `export/FORMAT-ARCHITECTURE` in the run's folder.
        weights: "float32", or "int8", which is judged by the return in new episodes.
        checkpoint: For a run: "latest", "best" or a number of steps.
        episodes: How many episodes the evaluation in the manifest has.
        seed: Seed of the episodes.
        prefix: What names of functions and files begin with.
        fold_normaliser: Whether the first layer shall do what the normaliser does, without its clip.
        overwrite: Whether an artefact in that place is replaced.
        max_loss: The share of the return that int8 weights may cost.
        env: For an algorithm: the id of its environment, or what builds it.
        adapted: What is exported instead of the run's own policy: that of one task, after the agent adapted.

    Returns:
        What was exported, for each format.

    Raises:
        HyperRLError: The agent cannot be exported, a place is taken, or what was exported does not act as the
            policy does; nothing was written.
    """
    names = [formats] if isinstance(formats, str) else list(formats)
    check_formats(names)
    count = int(whole(0, 100_000).check("episodes", episodes))
    share = float(between(0, 1).check("max_loss", max_loss))
    seed = int(_SEED.check("seed", seed))
    given = source if isinstance(source, Source) else _source(source, checkpoint, env)
    try:
        reference: Callable[[Any], Any] | None
        if adapted is not None:
            policy, reference, given = _adapted(given, adapted, architecture, context)
        else:
            chosen = chosen_context(given.model, context)
            policy = specialise(
                given.model, architecture=architecture, context=chosen, vec_normalize=given.vec_normalize
            )
            reference = acting(given.model, given.vec_normalize, architecture=architecture, context=chosen)
            given = _in_context(given, chosen)
        label = _label(given, policy)
        requests = [
            Request(
                name,
                _place(given.folder, out, name, label, single=len(names) == 1),
                weights,
                prefix,
                fold_normaliser,
                overwrite,
                count,
                share,
            )
            for name in names
        ]
        for request in requests:
            prepare(request)
        return export_subject(_subject(given, policy, reference, seed), requests)
    finally:
        if not isinstance(source, Source) and given.model is not source and given.model.env is not None:
            given.model.env.close()


def check_formats(names: Sequence[str]) -> None:
    """Refuse formats that there are not, before anything takes time.

    Args:
        names: Names of exporters.

    Raises:
        ConfigError: There is no name.
        HyperRLError: One is unknown, or something is missing on this machine.
    """
    if not names:
        raise ConfigError("name at least one format, for example c99")
    for name in names:
        exporters.get(name)().check()


def run_source(run_dir: str | Path, checkpoint: str = "latest") -> Source:
    """Load the agent of a run.

    Args:
        run_dir: The run's folder.
        checkpoint: "latest", "best" or a number of steps.

    Raises:
        HyperRLError: There is no such run or checkpoint, or it is damaged.
    """
    folder = RunFolder.open(run_dir)
    config = folder.config()
    torch.set_num_threads(min(config.threads, available_cores()))
    model, steps = load_agent(folder, checkpoint)
    manifest = folder.manifest()
    provenance = {
        "agent": config.agent,
        "env": config.env,
        "env_kwargs": dict(config.env_kwargs),
        "seed": config.seed,
        "checkpoint": checkpoint,
        "steps": steps,
        "run": folder.path.name,
        "git": (manifest.get("git") or {}).get("hyperrl"),
        "packages": manifest.get("packages"),
        "trained": manifest.get("started"),
    }
    return Source(
        model, lambda: make_env(config.env, config.env_kwargs), provenance, folder.path, config.seed
    )


def model_source(
    model: BaseAlgorithm,
    env: str | MakeEnv,
    *,
    env_kwargs: dict[str, Any] | None = None,
    vec_normalize: VecNormalize | None = None,
    folder: Path | None = None,
    checkpoint: str | None = None,
) -> Source:
    """Return what is exported of an algorithm that has no run folder.

    Args:
        model: The algorithm.
        env: The id of its environment, or what builds it.
        env_kwargs: Keyword arguments of the environment, where an id is given.
        vec_normalize: What normalises its observations; None takes that of the model's environment.
        folder: Where its exports lie by default; None takes the working directory.
        checkpoint: Name of the file that it was loaded from.
    """
    kwargs = dict(env_kwargs or {})
    provenance = {
        "agent": type(model).__name__,
        "env": env if isinstance(env, str) else None,
        "env_kwargs": kwargs,
        "seed": model.seed,
        "checkpoint": checkpoint,
        "steps": model.num_timesteps,
        "git": git_commit(Path(__file__).parent),
        "packages": package_versions(),
    }
    make = (lambda: make_env(env, kwargs)) if isinstance(env, str) else env
    return Source(model, make, provenance, folder or Path.cwd(), int(model.seed or 0), vec_normalize)


def _source(source: str | Path | BaseAlgorithm, checkpoint: str, env: str | MakeEnv | None) -> Source:
    if isinstance(source, str | Path):
        if env is not None:
            raise UsageError(f"the run folder {source} has its own environment: leave env away")
        return run_source(source, checkpoint)
    if env is None:
        raise ConfigError("name the environment of the model, for example env='Pendulum-v1'")
    return model_source(source, env)


def _place(folder: Path, out: str | Path | None, name: str, label: str, *, single: bool) -> Path:
    if out is None:
        return folder / "export" / f"{name}-{label}"
    return Path(out).expanduser().absolute() / ("" if single else f"{name}-{label}")


def _in_context(source: Source, context: NDArray[Any] | None) -> Source:
    """Return a source whose environments have one context and do not show it, for agents with contexts."""
    observed = getattr(source.model, "observed", None)
    if not isinstance(observed, Observed):
        return source

    def make_env() -> gym.Env[Any, Any]:
        env = source.make_env()
        _check_env(env, source.model)
        return InOneContext(env, observed, context)

    named = None if context is None or observed.space is None else observed.space.as_dict(context)
    return replace(source, make_env=make_env, provenance={**source.provenance, "context": named})


def _adapted(
    source: Source,
    adapted: AdaptedPolicy,
    architecture: Sequence[int] | None,
    context: str | Context | None,
) -> tuple[PlainPolicy, Callable[[Any], Any] | None, Source]:
    """Return an adapted policy, what it is compared with, and a source whose environments are of its task."""
    if architecture is not None or context is not None:
        raise UsageError("an adapted policy has its task and its architecture: leave the other ones out")

    def make_env() -> gym.Env[Any, Any]:
        return InOneContext(source.make_env(), adapted.observed, adapted.context)

    space = adapted.observed.space
    assert space is not None  # It was adapted to a task of it.
    told = {"context": space.as_dict(adapted.context), "adapted": adapted.to_json()}
    inside = replace(source, make_env=make_env, provenance={**source.provenance, **told})
    return adapted.policy, adapted.act, inside


def _label(source: Source, policy: PlainPolicy) -> str:
    """Return what the folder of an export is called behind its format."""
    label = "x".join(map(str, policy.architecture)) or "linear"
    context = source.provenance.get("context") or {}
    adapted = source.provenance.get("adapted")
    after = [] if adapted is None else [f"after-{adapted['episodes']}"]
    return "-".join([label, *(f"{name}={value:g}" for name, value in context.items()), *after])


def _subject(
    source: Source, policy: PlainPolicy, reference: Callable[[Any], Any] | None, seed: int
) -> Subject:
    env = source.make_env()
    try:
        if not isinstance(env, InOneContext):
            _check_env(env, source.model)
        interface = interface_of(
            env.env if isinstance(env, InOneContext) else env, policy.sizes[0], policy.sizes[-1]
        )
        rollout_seeds = seeds_of_evaluation(source.seed, seed + 1, _ROLLOUT_EPISODES)
        rollout = _observe(policy, env, rollout_seeds)
        space = env.observation_space
    finally:
        env.close()

    def play(acting_policy: Predictor, episodes: int) -> list[float]:
        env = source.make_env()
        try:
            played = play_episodes(acting_policy, env, seeds_of_evaluation(source.seed, seed, episodes))
        finally:
            env.close()
        return [episode.episode_return for episode in played]

    box = space if isinstance(space, spaces.Box) else None
    return Subject(
        policy,
        rollout,
        interface,
        source.provenance,
        reference,
        play,
        None if box is None else box.low,
        None if box is None else box.high,
    )


def _check_env(env: gym.Env[Any, Any], model: BaseAlgorithm) -> None:
    """Refuse an environment that the model was not trained for."""
    for noun, space, trained in (
        ("observations", env.observation_space, model.observation_space),
        ("actions", env.action_space, model.action_space),
    ):
        if _shape(space) != _shape(trained):
            raise ShapeError(
                f"the environment has {noun} of shape {_shape(space)}, but those of the model have shape "
                f"{_shape(trained)}: give the one that it was trained in, with its wrappers"
            )
    if isinstance(env.action_space, spaces.Box) and isinstance(model.action_space, spaces.Box):
        same = np.allclose(env.action_space.low, model.action_space.low)
        if not same or not np.allclose(env.action_space.high, model.action_space.high):
            raise BoundsError(
                "the environment has other bounds of actions than the model: give the one that it was "
                "trained in, with its wrappers"
            )


def _shape(space: spaces.Space[Any]) -> str:
    if isinstance(space, spaces.Dict):
        return ", ".join(f"{key} {_shape(part)}" for key, part in space.spaces.items())
    return "none" if space.shape is None else str(list(space.shape))


class _EnoughSeen(Exception):  # noqa: N818 - nothing went wrong
    """Ends an episode of which enough was seen."""


class _Recorder:
    """Acts, and keeps what it was shown."""

    def __init__(self, policy: PlainPolicy) -> None:
        self.policy = policy
        self.seen: list[NDArray[np.float32]] = []
        self.most = 0

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Any, Any]:
        """Act as the policy does."""
        self.seen.append(np.array(observation, np.float32))
        return self.policy.predict(observation, state)

    def stop_at_most(self) -> None:
        """End the episode where enough was seen."""
        if len(self.seen) >= self.most:
            raise _EnoughSeen


def _observe(policy: PlainPolicy, env: gym.Env[Any, Any], seeds: Iterable[int]) -> NDArray[np.float32]:
    """Return observations of episodes that the policy plays, ``[N, in]``."""
    recorder = _Recorder(policy)
    for seed in seeds:
        recorder.most = min(len(recorder.seen) + _PER_EPISODE, _OBSERVATIONS)
        try:
            play_episode(recorder, env, seed, before_step=recorder.stop_at_most)
        except _EnoughSeen:
            if len(recorder.seen) >= _OBSERVATIONS:
                break
    return np.stack(recorder.seen)
