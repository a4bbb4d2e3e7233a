"""Interrupting a training and continuing it with another agent, and comparing everything afterwards."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback

from hyperrl.run import state
from hyperrl.run.replay import ReplayLog
from tests.run.doubles import MemoryStore, through_a_file


class Interrupt(BaseCallback):
    """Saves at the first rollouts that begin at or after the given steps, and notes the steps of episodes."""

    def __init__(self, *at):
        super().__init__()
        self.at = list(at)
        self.saved = []
        self.store = MemoryStore()
        self.log = None

    def _on_rollout_start(self):
        if self.log is None and getattr(self.model, "replay_buffer", None) is not None:
            self.log = ReplayLog(self.model.replay_buffer)
        while self.at and self.model.num_timesteps >= self.at[0]:
            self.at.pop(0)
            rows = None
            if self.log is not None:
                rows = self.log.append(self.store, self.model.num_timesteps // self.model.n_envs)
            weights = {name: tensor.clone() for name, tensor in self.model.policy.state_dict().items()}
            self.saved.append((weights, rows, through_a_file(state.capture(self.model))))

    def _on_step(self):
        return True


class Continue(BaseCallback):
    """Puts everything back at the first rollout, and then looks at the agent."""

    def __init__(self, saved, store, look=None):
        super().__init__()
        self.saved, self.store, self.look = saved, store, look
        self.sentences = None

    def _on_rollout_start(self):
        if self.sentences is None:
            weights, rows, rest = self.saved
            self.model.policy.load_state_dict(weights)
            if rows is not None:
                ReplayLog(self.model.replay_buffer).restore(self.store, rows[0], through_a_file(rows[1]))
            self.sentences = state.restore(self.model, rest)
            if self.look is not None:
                self.look(self.model)

    def _on_step(self):
        return True


def everything(agent):
    """Return all that an agent, its buffer, its environments and the generators hold, by name."""
    flat = {}
    for name, tensor in agent.policy.state_dict().items():
        flat[f"weight {name}"] = tensor
    for name, value in vars(getattr(agent, "replay_buffer", None) or agent.rollout_buffer).items():
        for key, part in value.items() if isinstance(value, dict) else [("", value)]:
            if (isinstance(part, np.ndarray) and part.dtype != object) or name in ("pos", "full"):
                flat[f"buffer {name} {key}"] = part
    captured = state.capture(agent)
    for record in captured["episodes"]:
        record.pop("t")  # The wall clock.
    _flatten(captured, "", flat)
    return flat


def _flatten(value, path, flat):
    if isinstance(value, dict):
        for key, part in value.items():
            _flatten(part, f"{path} {key}", flat)
    elif isinstance(value, list | tuple):
        for index, part in enumerate(value):
            _flatten(part, f"{path} {index}", flat)
    else:
        flat[f"state{path}"] = value


def digest(value):
    """Return the SHA-256 of a value's type, shape and bits."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray | np.generic):
        text = f"{value.dtype} {value.shape}".encode()
        return hashlib.sha256(text + np.ascontiguousarray(value).tobytes()).hexdigest()
    return hashlib.sha256(f"{type(value)} {value!r}".encode()).hexdigest()


def digests(agent):
    """Return the SHA-256 of everything, by name; now, since the generators are those of the process."""
    return {name: digest(value) for name, value in everything(agent).items()}


def assert_equal(left, right):
    """Compare two results of `digests`; name the first thing that differs."""
    differing = [name for name in {**left, **right} if left.get(name) != right.get(name)]
    assert not differing, f"{len(differing)} of {len(left)} parts differ, the first is {differing[0]!r}"


def train(build, steps, *at):
    """Train an agent without a stop, saving it on the way.

    Args:
        build: Makes an agent from a seed.
        steps: How long.
        at: The steps at which it is saved.

    Returns:
        The digests of the end, and the callback that saved.
    """
    interrupt = Interrupt(*at)
    agent = build(seed=1).learn(steps, callback=interrupt)
    assert len(interrupt.saved) == len(at)
    return digests(agent), interrupt


def resume(build, steps, interrupt, index=0):
    """Continue from one of the saved states with an agent from another seed.

    Returns:
        The digests of the end, what was said on restoring, and the agent.
    """
    back = Continue(interrupt.saved[index], interrupt.store)
    agent = build(seed=2).learn(steps, callback=back)
    return digests(agent), back.sentences, agent


def assert_resumes(build, steps, at):
    """Train straight and with an interruption, compare, and return the resumed agent."""
    expected, interrupt = train(build, steps, at)
    resumed, sentences, agent = resume(build, steps, interrupt)
    assert sentences == []
    assert_equal(resumed, expected)
    return agent
