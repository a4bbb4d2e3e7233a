"""How long a full gradient step takes: sampling, critics, actor, Polyak averaging."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3 import SAC, TD3
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from hyperrl.bench.naive import NaiveFastTD3Policy, NaiveSACPolicy, NaiveTD3Policy
from hyperrl.bench.report import provenance
from hyperrl.bench.timing import Timings, deciding_clock, interleave
from hyperrl.registry import agents

_OBSERVATION, _ACTION = 17, 6
TRANSITIONS = 20_000
NET_ARCH = (256, 256)


class SpacesOnly(gym.Env[NDArray[np.float64], NDArray[np.float32]]):
    """An environment with HalfCheetah-v5's spaces and nothing behind them."""

    def __init__(self) -> None:
        self.observation_space = spaces.Box(-np.inf, np.inf, (_OBSERVATION,), np.float64)
        self.action_space = spaces.Box(-1.0, 1.0, (_ACTION,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float64], dict[str, Any]]:
        """Return zeros of shape [17]."""
        super().reset(seed=seed)
        return np.zeros(_OBSERVATION), {}

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[NDArray[np.float64], float, bool, bool, dict[str, Any]]:
        """Return zeros."""
        return np.zeros(_OBSERVATION), 0.0, False, False, {}


@dataclass(frozen=True)
class Comparison:
    """Variants of one gradient step, the first of which is the baseline.

    Attributes:
        name: What is compared.
        batch_size: Transitions in a batch.
        variants: Constructor of each variant's algorithm, by name.
        steps: Gradient steps of a timed block; even, so that a delayed actor steps once in every two.
        limits: The largest ratio of time to the baseline's that we accept, by variant.
    """

    name: str
    batch_size: int
    variants: Mapping[str, Callable[[str, int], OffPolicyAlgorithm]]
    steps: int
    limits: Mapping[str, float]


def comparisons(quick: bool = False) -> list[Comparison]:
    """All comparisons of gradient steps.

    Args:
        quick: Only the two small ones and short blocks, to see that everything works.
    """
    paper_td3 = {"naive": builder(TD3, NaiveTD3Policy), "paper": hyper("hyper-td3", "paper")}
    paper_sac = {"naive": builder(SAC, NaiveSACPolicy), "paper": hyper("hyper-sac", "paper")}
    td3 = {"sb3": builder(TD3, "MlpPolicy"), **{c: hyper("hyper-td3", c) for c in ("fast", "compact")}}
    sac = {"sb3": builder(SAC, "MlpPolicy"), **{c: hyper("hyper-sac", c) for c in ("fast", "compact")}}
    naive_fast = {"naive": builder(TD3, NaiveFastTD3Policy), "fast": hyper("hyper-td3", "fast")}
    steps = 2 if quick else 20
    small = [
        Comparison("td3 fast and compact vs SB3", 256, td3, steps, {"fast": 1.3}),
        Comparison("sac fast and compact vs SB3", 256, sac, steps, {}),
    ]
    if quick:
        return small
    compiled_td3 = td3 | _compiled("td3", "highest") | _compiled("td3", "medium")
    compiled_sac = sac | _compiled("sac", "highest") | _compiled("sac", "medium")
    for variants in (compiled_td3, compiled_sac):
        variants.pop("compact")
    compiled_fast = {"compiled fast": hyper("hyper-td3", "fast", compile=True)}
    compiled_paper = {
        "compiled paper": hyper("hyper-td3", "paper", compile=True),
        "compiled paper, medium": hyper("hyper-td3", "paper", compile=True, precision="medium"),
    }
    return [
        Comparison("td3 fast vs naive", 256, naive_fast | compiled_fast, steps, {"compiled fast": 1 / 1.7}),
        Comparison(
            "td3 compiled vs SB3",
            256,
            compiled_td3,
            steps,
            {"compiled": 1 / 1.4, "compiled, medium": 1 / 2.0},
        ),
        Comparison(
            "sac compiled vs SB3",
            256,
            compiled_sac,
            steps,
            {"compiled": 1 / 1.7, "compiled, medium": 1 / 2.5},
        ),
        Comparison(
            "td3 paper compiled vs naive",
            256,
            paper_td3 | compiled_paper,
            2,
            {"paper": 1 / 1.25, "compiled paper, medium": 1 / 2.1},
        ),
        *_against_sbx(compiled_td3, compiled_sac, steps),
        Comparison("td3 paper vs naive", 256, paper_td3, 2, {"paper": 1 / 1.3}),
        Comparison("td3 paper vs naive", 100, paper_td3, 2, {"paper": 1 / 1.3}),
        Comparison("sac paper vs naive", 256, paper_sac, 2, {"paper": 1 / 1.5}),
        *small,
    ]


def measure(
    comparison: Comparison, *, rounds: int, device: str = "cpu", seed: int = 0
) -> list[dict[str, Any]]:
    """Time all variants of a comparison, interleaved.

    Args:
        comparison: What is compared.
        rounds: Number of rounds.
        device: "cpu" or "cuda".
        seed: Seed of networks and replay data.

    Returns:
        One row per variant; times in milliseconds per gradient step. ``met`` says whether the median ratio is
        within the limit, and is None where there is no limit.
    """
    models = {name: build(device, seed) for name, build in comparison.variants.items()}
    blocks = {name: _block(model, comparison) for name, model in models.items()}
    timings = interleave(blocks, rounds=rounds, calls=1, warm_up=1, device=device)
    return [_row(comparison, name, timings, rounds, device, seed) for name in models]


def _row(
    comparison: Comparison, name: str, timings: Timings, rounds: int, device: str, seed: int
) -> dict[str, Any]:
    baseline = next(iter(comparison.variants))
    clock = deciding_clock(device)
    limit = comparison.limits.get(name)
    row: dict[str, Any] = {
        "comparison": comparison.name,
        "variant": name,
        "baseline": baseline,
        "batch_size": comparison.batch_size,
        "device": device,
        "clock": clock,
        "rounds": rounds,
    }
    for kind in ("cpu", "wall"):
        row[f"{kind}_ms"] = timings.seconds(name, kind).median * 1e3 / comparison.steps
    for kind in ("cpu", "wall"):
        ratio = timings.ratio(name, baseline, kind)
        row |= {
            f"{kind}_ratio": ratio.median,
            f"{kind}_ratio_min": ratio.low,
            f"{kind}_ratio_max": ratio.high,
        }
    row["speedup"] = 1 / row[f"{clock}_ratio"]
    row["ratio_limit"] = limit
    row["met"] = None if limit is None else row[f"{clock}_ratio"] <= limit
    return row | provenance(seed, device)


def _block(model: OffPolicyAlgorithm, comparison: Comparison) -> Callable[[], None]:
    return lambda: model.train(gradient_steps=comparison.steps, batch_size=comparison.batch_size)


def _compiled(algorithm: str, precision: str) -> dict[str, Callable[[str, int], OffPolicyAlgorithm]]:
    """The compiled algorithm with plain critics and with fast ones."""
    options = {"compile": True, "precision": precision}
    suffix = "" if precision == "highest" else f", {precision}"
    return {
        f"compiled{suffix}": named(f"compiled-{algorithm}", {}, options),
        f"compiled fast{suffix}": hyper(f"hyper-{algorithm}", "fast", **options),
    }


def _against_sbx(
    td3: Mapping[str, Callable[[str, int], OffPolicyAlgorithm]],
    sac: Mapping[str, Callable[[str, int], OffPolicyAlgorithm]],
    steps: int,
) -> list[Comparison]:
    """Compiled steps beside those of Stable-Baselines3's JAX sister, if it is installed: the extra "sbx"."""
    if find_spec("sbx") is None:
        return []
    import sbx

    limits = {"compiled": 1 / 1.2, "compiled, medium": 1 / 1.8}
    found = []
    for name, variants in (("TD3", td3), ("SAC", sac)):
        theirs = {"sbx": builder(getattr(sbx, name), "MlpPolicy")}
        ours = {key: build for key, build in variants.items() if key in limits}
        found.append(Comparison(f"{name.lower()} compiled vs sbx", 256, theirs | ours, steps, limits))
    return found


def hyper(agent: str, critic: str, **options: Any) -> Callable[[str, int], OffPolicyAlgorithm]:
    """Return what builds an agent with generated critics, its replay buffer full of noise.

    Args:
        agent: Registered name.
        critic: Name of the critic's configuration.
        **options: Arguments of the agent.
    """
    return named(agent, {"critic": critic}, options)


def named(
    agent: str, policy_kwargs: Mapping[str, Any], options: Mapping[str, Any]
) -> Callable[[str, int], OffPolicyAlgorithm]:
    """Return what builds a registered agent, its replay buffer full of noise.

    Args:
        agent: Registered name.
        policy_kwargs: Arguments of its policy.
        options: Arguments of the agent.
    """

    def build(device: str, seed: int) -> OffPolicyAlgorithm:
        return builder(agents.get(agent), "MlpPolicy", options, **policy_kwargs)(device, seed)

    return build


def builder(
    algorithm: Callable[..., OffPolicyAlgorithm],
    policy: Any,
    options: Mapping[str, Any] | None = None,
    **policy_kwargs: Any,
) -> Callable[[str, int], OffPolicyAlgorithm]:
    """Return what builds an algorithm for a device and a seed, its replay buffer full of noise.

    Args:
        algorithm: Its class.
        policy: What the class takes as policy.
        options: Arguments of the algorithm.
        **policy_kwargs: Arguments of the policy.
    """

    def build(device: str, seed: int) -> OffPolicyAlgorithm:
        model = algorithm(
            policy,
            SpacesOnly(),
            buffer_size=TRANSITIONS,
            policy_kwargs={"net_arch": list(NET_ARCH), **policy_kwargs},
            seed=seed,
            device=device,
            **(options or {}),
        )
        assert isinstance(model.replay_buffer, ReplayBuffer)
        fill(model.replay_buffer, seed)
        model.set_logger(Logger(None, []))
        return model

    return build


def fill(buffer: ReplayBuffer, seed: int) -> None:
    """Fill a replay buffer with random transitions of no meaning.

    Args:
        buffer: The buffer.
        seed: Seed of the numbers.
    """
    generator = np.random.default_rng(seed)
    for array in (buffer.observations, buffer.next_observations, buffer.rewards):
        array[:] = generator.standard_normal(array.shape)
    buffer.actions[:] = generator.uniform(-1, 1, buffer.actions.shape)
    buffer.full = True
