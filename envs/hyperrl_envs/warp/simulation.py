"""Tasks that are simulated on a device, with everything that a step takes and returns on that device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from hyperrl.errors import ConfigError, ShapeError, UnsupportedEnvError
from hyperrl.ranges import whole
from hyperrl_envs.native.env import CallOrderError
from hyperrl_envs.warp.buffers import Room, choose_room
from hyperrl_envs.warp.draws import Draws
from hyperrl_envs.warp.extra import load_libraries, torch_device
from hyperrl_envs.warp.physics import Physics
from hyperrl_envs.warp.tasks import read_setting


class TensorStep(NamedTuple):
    """What a step of n environments returns; all tensors are new, and on the device.

    Attributes:
        observations: Float32 of shape [n, observation size]; of the new episode where one ended.
        rewards: Float32 of shape [n].
        terminated: Booleans of shape [n]: the task ended the episode.
        truncated: Booleans of shape [n]: the limit of steps is reached.
        final_observations: Float32 of shape [n, observation size]: what the step led to, before new episodes
            began.
    """

    observations: Tensor
    rewards: Tensor
    terminated: Tensor
    truncated: Tensor
    final_observations: Tensor


class WarpSimulation:
    """Environments of one of Gymnasium's MuJoCo tasks, simulated by MuJoCo Warp in float32.

    Formulas, limits of steps and distributions of starts are Gymnasium's; random numbers are others. A world
    whose numbers overflow shows NaN, where MuJoCo would begin again from the model's own start.

    Args:
        env_id: One of `hyperrl_envs.warp.SUPPORTED`.
        n_envs: How many environments.
        device: "auto" (a GPU where torch finds one), "cpu", "cuda" or "cuda:N".
        seed: Of the first environment; the others take the numbers that follow. None draws them by chance.
        captured: Whether steps are captured once and replayed, which changes no bit.
        nconmax: Room for contacts of each environment, by default enough for the model.
        njmax: Room for rows of constraints, likewise.
        **env_kwargs: As for `gymnasium.make`, but for pictures.

    Attributes:
        spec: The `gymnasium.envs.registration.EnvSpec`.
        model: The `mujoco.MjModel`.
        n_envs: How many environments.
        device: The `torch.device`.
        room: Sizes of the buffers for contacts and constraints.
        action_space: Of one environment, as Gymnasium's.
        observation_size: Length of an observation.

    Raises:
        MissingExtraError: MuJoCo Warp is not installed.
        UnsupportedEnvError: The task cannot be simulated with it.
        UnknownNameError: There is no such keyword argument.
        ConfigError: A value is wrong.
    """

    def __init__(
        self,
        env_id: str,
        n_envs: int,
        *,
        device: str = "auto",
        seed: int | None = None,
        captured: bool = True,
        nconmax: int | None = None,
        njmax: int | None = None,
        **env_kwargs: Any,
    ) -> None:
        setting = read_setting(env_id, env_kwargs)
        load_libraries()
        self.n_envs = int(whole(1, 2**20).check("n_envs", n_envs))
        self.device = torch_device(device)
        self.spec, self.model = setting.spec, setting.model
        self.room = _room(setting.model, nconmax, njmax)
        low, high = setting.model.actuator_ctrlrange.astype(np.float32).T
        self.action_space = spaces.Box(low, high, dtype=np.float32)
        self._judge = setting.build_judge(self.device)
        self._physics = Physics(
            setting.model,
            self.n_envs,
            self.device,
            room=self.room,
            frame_skip=setting.task.frame_skip,
            reads=self._judge.reads,
            captured=captured,
        )
        self._limit = setting.max_episode_steps or np.iinfo(np.int64).max
        with self._physics.stream():
            self._lengths = torch.zeros(self.n_envs, dtype=torch.int64, device=self.device)
            self._draws = Draws(self.n_envs, self.device)
            # Where velocities are measured from in the next step.
            self._anchor = torch.zeros_like(self._judge.anchor(self.views))
        self.observation_size = self._judge.observation(self.views).shape[1]
        self._begun = False
        # Whether any episode ended costs nothing to see on a processor; a GPU would have to be waited for,
        # and rather begins new episodes for nobody.
        self._looks = self.device.type == "cpu"
        if seed is not None:
            self.seed([seed + index for index in range(self.n_envs)])

    @property
    def views(self) -> dict[str, Tensor]:
        """The simulation's arrays by MuJoCo's names, with a row for each world, on the very same memory."""
        return self._physics.views

    @property
    def data(self) -> Any:
        """The `mujoco_warp.Data`."""
        return self._physics.data

    def seed(self, seeds: Sequence[int | None]) -> None:
        """Let environments draw from new streams of random numbers from the next reset on.

        Args:
            seeds: One for each environment; None lets its stream go on.

        Raises:
            ConfigError: There are more or fewer, or one is no whole number of at least 0.
        """
        with self._physics.stream():
            self._draws.seed(seeds)

    def reset(self) -> Tensor:
        """Begin new episodes in all environments.

        Returns:
            Observations, float32 of shape [n, observation size].
        """
        with self._physics.stream(), torch.no_grad():
            return self._begin_everywhere(self._starts())

    def place(self, positions: Tensor, velocities: Tensor) -> Tensor:
        """Begin new episodes in all environments from states of your own.

        Args:
            positions: MuJoCo's `qpos`, shape [n, nq], on the device.
            velocities: Its `qvel`, shape [n, nv], on the device.

        Returns:
            Observations, float32 of shape [n, observation size].

        Raises:
            ShapeError: The shapes are others.
        """
        shapes = tuple(positions.shape), tuple(velocities.shape)
        expected = (self.n_envs, self.model.nq), (self.n_envs, self.model.nv)
        if shapes != expected:
            raise ShapeError(
                f"place needs shapes {expected[0]} and {expected[1]}, got {shapes[0]} and {shapes[1]}"
            )
        with self._physics.stream(), torch.no_grad():
            return self._begin_everywhere((positions, velocities))

    def step_tensors(self, actions: Tensor) -> TensorStep:
        """Step all environments once, and begin a new episode where one ends; never waits for a GPU.

        Args:
            actions: Shape [n, number of actions], on the device.

        Raises:
            ShapeError: The shape is another.
            ConfigError: The actions are elsewhere.
            CallOrderError: The environments were never reset.
        """
        self._check(actions)
        with self._physics.stream(), torch.no_grad():
            self._physics.note_overflow()
            self.views["ctrl"].copy_(actions)
            self._physics.step()
            return self._judged(actions.to(torch.float32))

    def get_state(self) -> dict[str, Any]:
        """Return the state of all environments between two steps, as plain data.

        On a processor they continue from it bit for bit; on a GPU contacts come in any order, so that sums
        of forces may differ in their last bits, as from one run to the next.
        """
        with self._physics.stream():
            arrays = {name: tensor.cpu().numpy().copy() for name, tensor in self._memory().items()}
        return {"env": self.spec.id, "begun": self._begun, "arrays": arrays}

    def set_state(self, state: dict[str, Any]) -> None:
        """Bring all environments to a state of `get_state`.

        Args:
            state: Of as many environments of the same task.

        Raises:
            UnsupportedEnvError: It is of another task or number of environments.
        """
        memory, saved = self._memory(), state["arrays"]
        shapes = {name: tuple(np.shape(array)) for name, array in saved.items()}
        if state["env"] != self.spec.id or shapes != {name: tuple(t.shape) for name, t in memory.items()}:
            raise UnsupportedEnvError(
                f"the state is of other environments than {self.n_envs} of {self.spec.id}: build them as "
                "they were when it was saved"
            )
        with self._physics.stream():
            for name, tensor in memory.items():
                tensor.copy_(torch.from_numpy(np.array(saved[name])))
        self._begun = bool(state["begun"])

    def _judged(self, actions: Tensor) -> TensorStep:
        final = self._judge.observation(self.views)
        rewards, terminated = self._judge.outcome(self._anchor, self.views, actions)
        self._lengths += 1
        truncated = self._lengths >= self._limit
        done = terminated | truncated
        anchor = self._judge.anchor(self.views)
        if self._looks and not done.any():
            self._anchor.copy_(anchor)
            return TensorStep(final.clone(), rewards, terminated, truncated, final)
        self._begin(done, anchor.clone(), self._starts())
        self._draws.advance(done)
        observations = torch.where(done[:, None], self._judge.observation(self.views), final)
        return TensorStep(observations, rewards, terminated, truncated, final)

    def _starts(self) -> tuple[Tensor, Tensor]:
        return self._judge.start(self._draws.uniforms(self._judge.draws))

    def _begin_everywhere(self, starts: tuple[Tensor, Tensor]) -> Tensor:
        everyone = torch.ones(self.n_envs, dtype=torch.bool, device=self.device)
        self._begin(everyone, self._judge.anchor(self.views).clone(), starts)
        self._draws.advance(everyone)
        self._begun = True
        return self._judge.observation(self.views)

    def _begin(self, done: Tensor, anchor: Tensor, starts: tuple[Tensor, Tensor]) -> None:
        """Begin new episodes in some environments; the others keep `anchor`."""
        rows, views = done[:, None], self.views
        for name, start in zip(("qpos", "qvel"), starts, strict=True):
            views[name].copy_(torch.where(rows, start.to(torch.float32), views[name]))
        for name in (*self._physics.state[2:], "ctrl"):
            views[name].masked_fill_(rows, 0.0)
        if "cfrc_ext" in views:
            views["cfrc_ext"].masked_fill_(rows[:, :, None], 0.0)
        if self._judge.settles:
            # For all: what is computed for the others is not read before their next step computes it again.
            self._physics.settle()
        self._lengths.masked_fill_(done, 0)
        self._anchor.copy_(torch.where(rows, self._judge.anchor(views), anchor))

    def _memory(self) -> dict[str, Tensor]:
        own = {"lengths": self._lengths, "anchor": self._anchor}
        streams = {"keys": self._draws.keys, "episodes": self._draws.episodes}
        return {name: self.views[name] for name in self._physics.state} | own | streams

    def _check(self, actions: Tensor) -> None:
        shape = (self.n_envs, *self.action_space.shape)
        if tuple(actions.shape) != shape:
            raise ShapeError(f"step needs actions of shape {shape}, got {tuple(actions.shape)}")
        if actions.device != self.device:
            raise ConfigError(
                f"the actions are on {actions.device}, but the simulation is on {self.device}: "
                "move them there, or build the policy there"
            )
        if not self._begun:
            raise CallOrderError("step was called before reset: call reset first")


def _room(model: Any, nconmax: int | None, njmax: int | None) -> Room:
    room = choose_room(model)
    # Without any room MuJoCo Warp leaves out everything, and does not say so.
    least = Room(min(1, room.contacts), min(1, room.rows))
    contacts, rows = room.contacts, room.rows
    if nconmax is not None:
        contacts = int(whole(least.contacts, 100_000).check("nconmax", nconmax))
    if njmax is not None:
        rows = int(whole(least.rows, 100_000).check("njmax", njmax))
    return Room(contacts, rows)
