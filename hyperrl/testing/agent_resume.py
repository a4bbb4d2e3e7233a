"""The part of `check_agent` on stopped runs: they continue from a checkpoint as if they had never stopped."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback

from hyperrl.run.checkpoint import Checkpoints
from hyperrl.run.store import CheckpointStore
from hyperrl.testing.agent_subject import AgentCheckError, Subject, parameters_of, require
from hyperrl.testing.digest import first_difference, state_digests

_Result = TypeVar("_Result")


def check_resume(subject: Subject, model: BaseAlgorithm) -> None:
    """Require that a run continues from its checkpoint bit for bit, with one environment and with two.

    Args:
        subject: What is checked.
        model: An agent of it with seed 0 that has made one training in one environment.

    Raises:
        AgentCheckError: The agent cannot be saved or restored, saving it changes it, or a part of its state
            differs afterwards; the sentence names the first one.
    """
    for n_envs in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            _check_resume(subject, model, n_envs, CheckpointStore(Path(folder)))


def _check_resume(subject: Subject, model: BaseAlgorithm, n_envs: int, store: CheckpointStore) -> None:
    name, total = subject.name, subject.steps * n_envs
    straight, saver = _train_straight(subject, n_envs, total, store)
    if n_envs == 1:
        require(
            torch.equal(parameters_of(straight), parameters_of(model)),
            f"{name} learns otherwise when it is saved on the way: its checkpoint_state must change nothing "
            "and draw no random number",
        )
    if saver.saved_steps < 0:
        # Its rollouts are longer than that: the first has to be followed by one that continues.
        total = 2 * straight.num_timesteps
        straight, saver = _train_straight(subject, n_envs, total, store)
    # At once, since part of it are the random generators of the process.
    expected = state_digests(straight)
    require(
        saver.saved_steps >= 0,
        f"{name} begins no rollout in the second half of {total} steps: it cannot be saved while it learns",
    )
    restorer = _Restore(store, name)
    continued = subject.build(seed=1, n_envs=n_envs).learn(total, callback=restorer)
    found = state_digests(continued)
    require(
        not restorer.notes,
        f"{name} cannot be continued exactly in this environment: {'; '.join(restorer.notes)}; check it in "
        "another one, or with exact_resume=False",
    )
    difference = first_difference(expected, found)
    require(
        difference is None,
        f"{name} in {n_envs} environment{'s' * (n_envs > 1)} ends otherwise when it is continued from its "
        f"checkpoint after {saver.saved_steps} of {total} steps: the first part that differs is "
        f"{difference}; what it remembers by itself belongs in the methods checkpoint_state and "
        "restore_checkpoint_state, see hyperrl.run.state",
    )


def _train_straight(
    subject: Subject, n_envs: int, total: int, store: CheckpointStore
) -> tuple[BaseAlgorithm, _Save]:
    saver = _Save(store, total // 2, total, subject.name)
    return subject.build(n_envs=n_envs).learn(total, callback=saver), saver


class _Save(BaseCallback):
    """Saves at the first rollout of the second half, again at later ones until one is amid its episodes."""

    def __init__(self, store: CheckpointStore, first: int, total: int, name: str) -> None:
        super().__init__()
        self._store, self._first, self._total, self._name = store, first, total, name
        self._amid_episodes = False
        self.saved_steps = -1

    def _on_rollout_start(self) -> None:
        steps = self.model.num_timesteps
        if self._amid_episodes or not max(self._first, 1) <= steps < self._total:
            return
        problem = _told(self._write, f"{self._name} cannot be saved while it learns")
        require(problem is None, f"no checkpoint of {self._name} can be written here: {problem}")
        # Stable-Baselines3's Monitor has the rewards of the episode so far.
        self._amid_episodes = all(self.training_env.get_attr("rewards"))
        self.saved_steps = steps

    def _write(self) -> str | None:
        checkpoints = Checkpoints(self.model, self._store, {})
        checkpoints.save({})
        return checkpoints.problem

    def _on_step(self) -> bool:
        return True


class _Restore(BaseCallback):
    """Restores the newest checkpoint at the first rollout."""

    def __init__(self, store: CheckpointStore, name: str) -> None:
        super().__init__()
        self._store, self._name = store, name
        self._done = False
        self.notes: list[str] = []

    def _on_rollout_start(self) -> None:
        if not self._done:
            self._done = True
            _, self.notes = _told(
                lambda: Checkpoints(self.model, self._store, {}).restore(self._store.load()),
                f"{self._name} cannot be restored from its checkpoint",
            )

    def _on_step(self) -> bool:
        return True


def _told(action: Callable[[], _Result], sentence: str) -> _Result:
    """Do something that runs code of the agent's; what fails in it fails the check."""
    try:
        return action()
    except Exception as error:
        raise AgentCheckError(f"{sentence}: {type(error).__name__}: {error}") from error
