"""hyperrl and plain Stable-Baselines3 behind one interface, so that the same code injects faults into both.

Each method does what the library's own documentation says for that purpose, and no more.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
from stable_baselines3 import PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import CheckpointCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.vec_env import SubprocVecEnv, VecEnv
from torch import Tensor

from hyperrl.config import RunConfig
from hyperrl.environments import make_env
from hyperrl.errors import CheckpointCorruptError
from hyperrl.import_model import import_model
from hyperrl.registry import agents
from hyperrl.run import RunFolder
from hyperrl.run.checkpoint import Checkpoints
from hyperrl.run.members import MANIFEST, Manifest, Member, Segment
from hyperrl.run.pointers import POINTERS, write_pointer
from hyperrl.run.sealed import sha256
from hyperrl.run.store import CheckpointStore
from hyperrl.sb3.workers import WorkerVecEnv
from hyperrl.train import restore_agent, resume, train

_SB3: dict[str, Any] = {"td3": TD3, "sac": SAC, "ppo": PPO}


@dataclass(frozen=True)
class Job:
    """What is trained.

    Attributes:
        algorithm: "td3", "sac", "ppo" or the name of another agent of hyperrl.
        env: Gymnasium id.
        steps: Environment steps.
        seed: Seed of the whole run.
        checkpoint_every: Steps between checkpoints while learning; 0 for one at the end only.
        settings: Keyword arguments of the algorithm, as TOML values.
        env_kwargs: Keyword arguments of the environment.
    """

    algorithm: str
    env: str
    steps: int
    seed: int = 0
    checkpoint_every: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)


class Library(ABC):
    """A library that trains agents and saves them.

    Attributes:
        name: Its name.
        algorithms: What it trains.
        acting: Those whose `predict` is the library's own.
        damage: The error that it raises, on purpose, where a file is not what it should be.
    """

    name: ClassVar[str]
    algorithms: ClassVar[tuple[str, ...]]
    acting: ClassVar[tuple[str, ...]]
    damage: ClassVar[type[Exception]]

    @abstractmethod
    def build(self, job: Job) -> BaseAlgorithm:
        """Build an agent as a script would."""

    @abstractmethod
    def train(self, job: Job, folder: Path) -> None:
        """Train, and leave what the library saves in a folder that does not exist yet."""

    @abstractmethod
    def resume(self, job: Job, folder: Path, steps: int) -> None:
        """Continue a training that has ended, up to so many steps, in the same folder."""

    @abstractmethod
    def load(self, job: Job, folder: Path) -> BaseAlgorithm:
        """Load what `train` left, the replay buffer included."""

    @abstractmethod
    def steps_saved(self, job: Job, folder: Path) -> int:
        """Return the steps of the newest checkpoint that a training has left; 0 where there is none."""

    @abstractmethod
    def files(self, folder: Path) -> list[Path]:
        """Return the files of the checkpoint that `train` or a saver left, without the replay buffer."""

    @abstractmethod
    def replay_files(self, folder: Path) -> list[Path]:
        """Return the files of the replay buffer that `train` left."""

    @abstractmethod
    def saver(self, agent: BaseAlgorithm, folder: Path) -> Callable[[], object]:
        """Return what saves an agent into a folder again and again."""

    @abstractmethod
    def weights(self, folder: Path) -> dict[str, Tensor]:
        """Load the weights of the newest checkpoint that a saver has left of a TD3 agent."""

    @abstractmethod
    def workers(self, env_fns: Sequence[Callable[[], gym.Env[Any, Any]]], seconds: float) -> VecEnv:
        """Make environments in one process each; where the library has a time limit, it is `seconds`."""

    @abstractmethod
    def settle(self, folder: Path) -> None:
        """Do what a forger does once the content of files in a folder of `train` is changed."""

    @abstractmethod
    def import_foreign(self, job: Job, path: Path, folder: Path) -> bool:
        """Import a model file of Stable-Baselines3; return False where that is no other way than `load`."""


class StableBaselines3(Library):
    """Stable-Baselines3: `learn`, `save`, `save_replay_buffer`, `load`, `load_replay_buffer`."""

    name = "sb3"
    algorithms = ("td3", "sac", "ppo")
    acting = ("td3", "sac")
    # Of its loader: "the file ... wasn't a zip-file".
    damage = ValueError

    def build(self, job: Job) -> BaseAlgorithm:
        """Call the constructor."""
        env = gym.make(job.env, **job.env_kwargs)
        agent: BaseAlgorithm = _SB3[job.algorithm](
            "MlpPolicy", env, seed=job.seed, device="cpu", **job.settings
        )
        return agent

    def train(self, job: Job, folder: Path) -> None:
        """Learn, with a `CheckpointCallback` if checkpoints are asked for, and save."""
        agent = self.build(job)
        callback = None
        if job.checkpoint_every:
            callback = CheckpointCallback(
                job.checkpoint_every, str(folder / "checkpoints"), save_replay_buffer=True
            )
        agent.learn(job.steps, callback=callback)
        self._save(agent, folder)

    def resume(self, job: Job, folder: Path, steps: int) -> None:
        """Load model and replay buffer, and learn with ``reset_num_timesteps=False``."""
        agent = self._load(job, folder, gym.make(job.env, **job.env_kwargs))
        agent.learn(steps - job.steps, reset_num_timesteps=False)
        self._save(agent, folder)

    def load(self, job: Job, folder: Path) -> BaseAlgorithm:
        """Load model and replay buffer."""
        return self._load(job, folder, None)

    def steps_saved(self, job: Job, folder: Path) -> int:
        """Load everything that `CheckpointCallback` or `save` have written."""
        paths = [*self.files(folder), *folder.glob("checkpoints/*.zip")]
        steps = [_SB3[job.algorithm].load(path, device="cpu").num_timesteps for path in paths]
        return max(steps, default=0)

    def files(self, folder: Path) -> list[Path]:
        """Return the zip file."""
        return [path for path in [folder / "model.zip"] if path.exists()]

    def replay_files(self, folder: Path) -> list[Path]:
        """Return the pickle."""
        return [folder / "replay.pkl"]

    def saver(self, agent: BaseAlgorithm, folder: Path) -> Callable[[], object]:
        """Save under one name, as `EvalCallback` does with its best model."""
        return lambda: agent.save(folder / "model.zip")

    def weights(self, folder: Path) -> dict[str, Tensor]:
        """Load the model."""
        return dict(TD3.load(folder / "model.zip", device="cpu").policy.state_dict())

    def workers(self, env_fns: Sequence[Callable[[], gym.Env[Any, Any]]], seconds: float) -> VecEnv:
        """Make a `SubprocVecEnv`, which knows no time limit."""
        return SubprocVecEnv(list(env_fns), start_method="forkserver")

    def settle(self, folder: Path) -> None:
        """Do nothing: the checksums of a zip file are written with it."""

    def import_foreign(self, job: Job, path: Path, folder: Path) -> bool:
        """Do nothing: `load` has read it."""
        return False

    def _save(self, agent: BaseAlgorithm, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        agent.save(folder / "model.zip")
        if isinstance(agent, OffPolicyAlgorithm):
            agent.save_replay_buffer(folder / "replay.pkl")

    def _load(self, job: Job, folder: Path, env: gym.Env[Any, Any] | None) -> BaseAlgorithm:
        agent: BaseAlgorithm = _SB3[job.algorithm].load(folder / "model.zip", env=env, device="cpu")
        if isinstance(agent, OffPolicyAlgorithm):
            agent.load_replay_buffer(folder / "replay.pkl")
        return agent


class Hyperrl(Library):
    """hyperrl: `train`, `resume`, `restore_agent`, and the store of checkpoints below them."""

    name = "hyperrl"
    algorithms = ("td3", "sac", "ppo", "hyper-td3", "hyper-sac")
    acting = ("td3", "sac", "hyper-td3", "hyper-sac")
    damage = CheckpointCorruptError

    def build(self, job: Job) -> BaseAlgorithm:
        """Call the constructor."""
        agent: BaseAlgorithm = agents.get(job.algorithm)(
            "MlpPolicy",
            make_env(job.env, job.env_kwargs),
            seed=job.seed,
            device="cpu",
            **job.settings,
        )
        return agent

    def train(self, job: Job, folder: Path) -> None:
        """Train a run."""
        register_ppo()
        train(_run_config(job, folder))

    def resume(self, job: Job, folder: Path, steps: int) -> None:
        """Resume the run."""
        register_ppo()
        resume(folder, steps)

    def load(self, job: Job, folder: Path) -> BaseAlgorithm:
        """Restore the run's agent."""
        register_ppo()
        return restore_agent(folder)

    def steps_saved(self, job: Job, folder: Path) -> int:
        """Load the latest checkpoint."""
        store = RunFolder(folder).store
        return store.load().steps if store.names() else 0

    def files(self, folder: Path) -> list[Path]:
        """Return all files of checkpoints, and the pointers."""
        store = folder / "ckpt"
        return sorted([*store.glob("*.json"), *store.glob("step-*/*")])

    def replay_files(self, folder: Path) -> list[Path]:
        """Return the segments."""
        return sorted((folder / "ckpt" / "replay").iterdir())

    def saver(self, agent: BaseAlgorithm, folder: Path) -> Callable[[], object]:
        """Save as a run does."""
        checkpoints = Checkpoints(agent, CheckpointStore(folder / "ckpt"), {})
        return lambda: checkpoints.save({})

    def weights(self, folder: Path) -> dict[str, Tensor]:
        """Load the latest checkpoint."""
        return CheckpointStore(folder / "ckpt").load().weights()

    def workers(self, env_fns: Sequence[Callable[[], gym.Env[Any, Any]]], seconds: float) -> VecEnv:
        """Make a `WorkerVecEnv`."""
        return WorkerVecEnv(env_fns, start_method="forkserver", step_timeout=seconds)

    def settle(self, folder: Path) -> None:
        """Write the manifest and the pointers anew, with sizes and checksums that are right."""
        store = folder / "ckpt"
        for path in store.glob("step-*"):
            try:
                manifest = Manifest.read(path)
            except CheckpointCorruptError:
                continue
            members = [_recorded(Member, path, member) for member in manifest.members]
            segments = [_recorded(Segment, store / "replay", segment) for segment in manifest.segments]
            data = replace(manifest, members=tuple(members), segments=tuple(segments)).to_bytes()
            (path / MANIFEST).write_bytes(data)
            for pointer in POINTERS:
                if (store / f"{pointer}.json").exists():
                    write_pointer(store, pointer, path.name, data)

    def import_foreign(self, job: Job, path: Path, folder: Path) -> bool:
        """Import the file, said to be trusted."""
        import_model(path, _run_config(job, folder), trust_pickle=True)
        return True


LIBRARIES: tuple[Library, ...] = (Hyperrl(), StableBaselines3())


def register_ppo() -> None:
    """Make Stable-Baselines3's PPO known to hyperrl, as a plugin would, unless it is already."""
    if "ppo" not in agents.names():
        agents.register("ppo", PPO)


def _run_config(job: Job, folder: Path) -> RunConfig:
    return RunConfig(
        agent=job.algorithm,
        env=job.env,
        steps=job.steps,
        seed=job.seed,
        out=str(folder),
        device="cpu",
        eval_every=0,
        eval_episodes=1,
        checkpoint_every=job.checkpoint_every,
        env_kwargs=job.env_kwargs,
        agent_kwargs=job.settings,
    )


def _recorded(kind: Any, folder: Path, member: Member) -> Any:
    data = (folder / member.name).read_bytes()
    return kind(member.name, len(data), sha256(data))
