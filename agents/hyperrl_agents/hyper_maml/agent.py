"""HyperMAML with the verbs of Stable-Baselines3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv

from hyperrl.errors import ConfigError, ContextError
from hyperrl.ranges import above, between, whole
from hyperrl.sb3.contexts.agent import ContextAgentMixin
from hyperrl_agents.hyper_maml.adaptation import MAMLAdaptation
from hyperrl_agents.hyper_maml.learner import MetaLearner
from hyperrl_agents.hyper_maml.policies import HyperMAMLMultiInputPolicy, HyperMAMLPolicy
from hyperrl_agents.hyper_maml.trust_region import TrustRegion


class HyperMAML(ContextAgentMixin, MetaLearner):
    """MAML (Finn et al., ICML 2017) of a policy that a hypernetwork generates (Sarafian et al., ICML 2021).

    An iteration draws tasks of training, with replacement; plays episodes of each with the policy of its
    context; makes an inner step of REINFORCE in each; plays episodes with what came of it; and makes one step
    of trust region policy optimisation of the parameters before the inner step.

    Args:
        policy: "MlpPolicy" for vectors whose last numbers are the context, "MultiInputPolicy" for dicts.
        env: The environments, with contexts that can be chosen.
        meta_batch_size: Tasks of an iteration T.
        episodes_per_task: Episodes of each, for each inner step and behind the last one.
        inner_steps: Gradient steps in a task; 0 learns many tasks without adaptation.
        inner_lr: Their learning rate; None for the published one, 5e-5 for the actor "hyper" and 0.1 for
            "mlp".
        first_order: Whether the outer gradient takes inner steps as constants, as the published code does;
            False differentiates them.
        adapt: What inner steps change, one of `hyperrl_agents.hyper_maml.actor.ADAPTS`.
        gamma: Discount.
        gae_lambda: As in generalised advantage estimation.
        target_kl: The largest divergence of an outer step.
        cg_max_steps: Iterations of the conjugate gradient.
        cg_damping: What is added to the second derivatives of the divergence.
        line_search_max_iter: Lengths of the outer step that are tried.
        line_search_shrinking_factor: Each as a share of the one before.
        tasks_at_once: Tasks of which gradients are in memory at a time; None for all. Fewer take longer.
        policy_kwargs: See `HyperMAMLPolicy`.
        stats_window_size: As in Stable-Baselines3.
        tensorboard_log: As in Stable-Baselines3.
        verbose: As in Stable-Baselines3.
        seed: Seed of weights, tasks and actions.
        device: Where the networks run.

    Raises:
        ConfigError: A number is out of range, or the actor needs a context that it cannot see.
        UnknownNameError: A name is unknown.

    Example:
        >>> from hyperrl import HyperMAML
        >>> agent = HyperMAML("MlpPolicy", env, inner_steps=0).learn(100_000)  # doctest: +SKIP
    """

    learns_tasks: ClassVar[bool] = True
    """Whether it needs environments with contexts."""

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": HyperMAMLPolicy,
        "MultiInputPolicy": HyperMAMLMultiInputPolicy,
    }
    policy: HyperMAMLPolicy  # type: ignore[assignment]  # It has what `ContextAgentMixin` asks for.

    def __init__(
        self,
        policy: str | type[HyperMAMLPolicy],
        env: GymEnv | str | None,
        meta_batch_size: int = 40,
        episodes_per_task: int = 20,
        inner_steps: int = 1,
        inner_lr: float | None = None,
        first_order: bool = True,
        adapt: str = "all",
        gamma: float = 0.95,
        gae_lambda: float = 1.0,
        target_kl: float = 1e-2,
        cg_max_steps: int = 10,
        cg_damping: float = 1e-5,
        line_search_max_iter: int = 20,
        line_search_shrinking_factor: float = 0.8,
        tasks_at_once: int | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        super().__init__(
            policy,
            env,
            0.0,
            policy_kwargs=policy_kwargs,
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            verbose=verbose,
            device=device,
            support_multi_env=True,
            seed=seed,
            supported_action_spaces=(spaces.Box,),
        )
        if not isinstance(first_order, bool):
            raise ConfigError(f"first_order must be true or false, got {first_order!r}")
        self.meta_batch_size = int(whole(1, 1e5).check("meta_batch_size", meta_batch_size))
        self.episodes_per_task = int(whole(1, 1e5).check("episodes_per_task", episodes_per_task))
        self.inner_steps = int(whole(0, 1000).check("inner_steps", inner_steps))
        self.inner_lr = None if inner_lr is None else above(0, 1e3).check("inner_lr", inner_lr)
        self.first_order, self.adapt = first_order, adapt
        self.gamma = above(0, 1).check("gamma", gamma)
        self.gae_lambda = between(0, 1).check("gae_lambda", gae_lambda)
        self.region = TrustRegion(
            above(0, 1e6).check("target_kl", target_kl),
            int(whole(1, 1e4).check("cg_max_steps", cg_max_steps)),
            between(0, 1e6).check("cg_damping", cg_damping),
            int(whole(1, 1e3).check("line_search_max_iter", line_search_max_iter)),
            above(0, 0.999).check("line_search_shrinking_factor", line_search_shrinking_factor),
        )
        self.tasks_at_once = (
            None if tasks_at_once is None else int(whole(1, 1e5).check("tasks_at_once", tasks_at_once))
        )
        if _init_setup_model:
            self._setup_model()

    def adaptation(self, contexts: NDArray[np.float64]) -> MAMLAdaptation:
        """Begin to adapt to tasks, see `hyperrl.sb3.meta.adaptation.Adaptation`.

        Args:
            contexts: The tasks, raw, ``[n, d]``.

        Raises:
            ContextError: There is none.
            HyperRLError: One is not in the space.
        """
        if not len(contexts):
            raise ContextError("there is no task to adapt to: give at least one context")
        return MAMLAdaptation(self, contexts)

    def set_env(self, env: GymEnv, force_reset: bool = True) -> None:
        """Give the agent other environments, see `ContextAgentMixin.set_env`."""
        super().set_env(env, force_reset)
        self._tasks = None

    def vector_key(self) -> str | None:
        """Return the key of the observation beside the context, None where observations are no dict.

        Raises:
            UnsupportedSpaceError: There is not one vector.
        """
        return self._check_observations()

    def checkpoint_state(self) -> dict[str, Any]:
        """Return what decides the next tasks, see `hyperrl.run.state`."""
        return {"rng": self._rng.bit_generator.state}

    def restore_checkpoint_state(self, state: Mapping[str, Any]) -> None:
        """Take back what `checkpoint_state` returned."""
        self._rng.bit_generator.state = dict(state["rng"])
