"""Small agents of a family of tasks that costs nothing."""

from __future__ import annotations

from functools import partial

from stable_baselines3.common.env_util import make_vec_env

from hyperrl import HyperPEARL
from tests.sb3.meta.reaching import ReachEnv

LENGTH = 6
SMALL = {
    "initial_steps": LENGTH,
    "prior_steps": LENGTH,
    "extra_steps": LENGTH,
    "tasks_per_iteration": 2,
    "gradient_steps": 2,
    "batch_size": 8,
    "meta_batch_size": 2,
    "context_batch_size": 4,
    "buffer_size": 1000,
}
NETWORKS = {"primary": [8, 16], "blocks": 1, "net_arch": [8], "encoder_arch": [16]}


def env(n_train=3, mode="hidden", **kwargs):
    """What builds the environments: a point to walk to, which is one of `n_train`."""
    split = {} if n_train is None else {"n_train": n_train}
    return partial(ReachEnv, mode=mode, length=LENGTH, **{"split": split, **kwargs})


def build(n_envs=1, n_train=3, mode="hidden", policy="MlpPolicy", seed=0, env_kwargs=None, **kwargs):
    """An agent in environments of `env`, small unless `kwargs` says otherwise."""
    venv = make_vec_env(env(n_train, mode, **(env_kwargs or {})), n_envs=n_envs, seed=seed)
    networks = NETWORKS | kwargs.pop("policy_kwargs", {})
    settings = {**SMALL, **kwargs}
    return HyperPEARL(policy, venv, seed=seed, device="cpu", policy_kwargs=networks, **settings)


def oracle(**kwargs):
    """An agent that is told its task."""
    return build(mode="visible", infer="oracle", **kwargs)
