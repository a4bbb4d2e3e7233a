"""A Gaussian policy's forward pass as one graph, with the noise of its actions drawn outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import DiagGaussianDistribution
from stable_baselines3.common.preprocessing import get_action_dim
from torch import Tensor

from hyperrl.compiled import CompiledFunction, MethodOf, TrainedTensors, call
from hyperrl_agents.compiled_ppo.update import unvalidated_distributions

if TYPE_CHECKING:
    from stable_baselines3.common.policies import ActorCriticPolicy

    from hyperrl_agents.compiled_ppo.agent import CompiledPPO


class GaussianActing:
    """Actions, values and log-probabilities that the policy gives, in one graph.

    Args:
        agent: The agent, for which `why_not` has nothing to say.
        compiled: Whether to compile it; otherwise it runs as it is written.
    """

    def __init__(self, agent: CompiledPPO, compiled: bool = True) -> None:
        self._shape = agent.n_envs, get_action_dim(agent.action_space)
        self._device = agent.device
        self._forward = _ForwardWithNoise(agent.policy)
        self._bound: Any = None
        name = f"the acting of {type(agent).__name__}"
        self._graph = CompiledFunction(self._act, name, compiled=compiled, strict=True)

    @staticmethod
    def why_not(agent: CompiledPPO) -> str | None:
        """Say why an agent's acting cannot be compiled, or None.

        Args:
            agent: The agent.
        """
        if type(agent.policy.action_dist) is not DiagGaussianDistribution:
            return "its actions are not drawn from a Gaussian with independent dimensions"
        if not isinstance(agent.observation_space, spaces.Box):
            return "its observations are not one array of numbers"
        return None

    def bind(self, tensors: TrainedTensors) -> None:
        """Say what the parameters are.

        Args:
            tensors: Those of the policy.
        """
        parameters = tensors.networks["policy"]
        if parameters is not self._bound:
            self._bound = parameters
            self._graph.bind(parameters, unchanged=parameters.values(), buffers=tensors.buffers)

    def __call__(self, observations: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Draw an action in each environment, with the random numbers that the policy itself would draw.

        Args:
            observations: ``[N, ...]``.

        Returns:
            Actions ``[N, ...]``, values ``[N, 1]`` and log-probabilities ``[N]``.
        """
        noise = torch.empty(self._shape, device=self._device).normal_()
        acted: tuple[Tensor, Tensor, Tensor] = self._graph((observations, noise))
        return acted

    def _act(self, parameters: Any, inputs: tuple[Tensor, Tensor]) -> Any:
        with unvalidated_distributions(), torch.no_grad():
            return call(self._forward, parameters, *inputs)


class _ForwardWithNoise(MethodOf):
    """Makes the policy's own forward pass, subclasses' included, what `call` calls, with given noise."""

    def __init__(self, policy: ActorCriticPolicy) -> None:
        super().__init__(policy, "forward")

    def forward(self, observations: Tensor, noise: Tensor) -> Any:
        """Return what the policy does, its actions being mean + deviation * noise."""
        policy: Any = self.module
        before = policy.action_dist
        policy.action_dist = _GivenNoise(before.action_dim, noise)
        try:
            return policy(observations)
        finally:
            policy.action_dist = before


class _GivenNoise(DiagGaussianDistribution):
    """A Gaussian whose next sample is decided."""

    def __init__(self, action_dim: int, noise: Tensor) -> None:
        super().__init__(action_dim)
        self._noise = noise

    def sample(self) -> Tensor:
        return self.distribution.mean + self._noise * self.distribution.stddev
