"""The arguments of `hyperrl bench`, one class for each word."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

_OUT = Path("runs", "published")
_Flag = tyro.conf.FlagCreatePairsOff[bool]


@dataclass(frozen=True)
class SpeedArguments:
    """Measure speed in one process, variants interleaved round-robin; write a CSV and a manifest."""

    device: Annotated[str, tyro.conf.arg(metavar="cpu|cuda")] = "cpu"
    """Where the networks run."""
    threads: int = 1
    """CPU threads of torch."""
    rounds: int = 9
    """Rounds; medians, smallest and largest ratios are over them."""
    seed: int = 0
    """Seed of networks and data."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = _OUT
    """Folder for the results."""
    quick: _Flag = False
    """A few small measurements only, to see that everything works."""


@dataclass(frozen=True)
class VecEnvArguments:
    """Measure native environments beside Stable-Baselines3's, in one process, interleaved round-robin."""

    rounds: int = 15
    """Rounds; medians, smallest and largest ratios are over them."""
    seed: int = 0
    """Seed of the environments."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = _OUT
    """Folder for the results."""
    quick: _Flag = False
    """A small measurement only, to see that everything works."""


@dataclass(frozen=True)
class ContextsArguments:
    """Measure what a change of context at a reset costs, in one process, interleaved round-robin."""

    rounds: int = 15
    """Rounds; medians, smallest and largest ratios are over them."""
    seed: int = 0
    """Seed of the environments."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = _OUT
    """Folder for the results."""
    quick: _Flag = False
    """A small measurement only, to see that everything works."""


@dataclass(frozen=True)
class ContextEvaluationArguments(ContextsArguments):
    """Measure one policy that plays in 64 contexts together and one after the other, interleaved."""


@dataclass(frozen=True)
class WarpArguments:
    """Measure environments simulated with MuJoCo Warp, captured and not, in one process, interleaved."""

    device: Annotated[str, tyro.conf.arg(metavar="cpu|cuda")] = "cpu"
    """Where they are simulated; on a GPU, 8192 worlds."""
    rounds: int = 9
    """Rounds; medians, smallest and largest ratios are over them."""
    seed: int = 0
    """Seed of environments and policy."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = _OUT
    """Folder for the results."""
    quick: _Flag = False
    """A small measurement only, to see that everything works."""


@dataclass(frozen=True)
class PPOArguments:
    """Measure whole iterations of PPO beside Stable-Baselines3's, in one process, interleaved round-robin."""

    rounds: int = 12
    """Timed iterations of each variant; medians, smallest and largest ratios are over them."""
    seed: int = 0
    """Seed of networks and environments."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = _OUT
    """Folder for the results."""
    quick: _Flag = False
    """Small iterations only, to see that everything works."""


@dataclass(frozen=True)
class MetaArguments:
    """Measure what meta-learners save: weights once a task, layers without matrices, memory in one call."""

    rounds: int = 9
    """Rounds; medians, smallest and largest ratios are over them."""
    device: str = "cpu"
    """cpu or cuda."""
    seed: int = 0
    """Seed of networks and inputs."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = _OUT
    """Folder for the results."""
    quick: _Flag = False
    """Small sizes only, to see that everything works."""


@dataclass(frozen=True)
class HyperZeroArguments:
    """Measure HyperZero's training step grouped by task beside generation for each sample, interleaved."""

    rounds: int = 12
    """Rounds of three steps of each variant; medians, smallest and largest ratios are over them."""
    device: str = "cpu"
    """cpu or cuda."""
    seed: int = 0
    """Seed of networks and batch."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = _OUT
    """Folder for the results."""
    quick: _Flag = False
    """Small networks only, to see that everything works."""


@dataclass(frozen=True)
class PeakArguments:
    """Measure the published critic's gradient step beside a plain product of matrices, interleaved."""

    rounds: int = 9
    """Rounds; medians, smallest and largest ratios are over them."""
    seed: int = 0
    """Seed of networks and data."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = _OUT
    """Folder for the results."""
    quick: _Flag = False
    """A small measurement only, to see that everything works."""


@dataclass(frozen=True)
class LoopArguments:
    """Measure training end to end beside Stable-Baselines3's, in one process, agents in turns."""

    rounds: int = 8
    """Rounds; medians, smallest and largest ratios are over them."""
    seed: int = 0
    """Seed of networks and environments."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = _OUT
    """Folder for the results."""
    quick: _Flag = False
    """Short blocks only, to see that everything works."""


@dataclass(frozen=True)
class ArchitecturesArguments:
    """Measure the generation and application of networks of many architectures, variants interleaved."""

    rounds: int = 9
    """Rounds; medians, smallest and largest ratios are over them."""
    seed: int = 0
    """Seed of networks, architectures and data."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = _OUT
    """Folder for the results."""
    quick: _Flag = False
    """A few small comparisons only, to see that everything works."""


@dataclass(frozen=True)
class StartupArguments:
    """Measure whole processes: from the start to the first updates, and two at a time."""

    rounds: int = 5
    """Processes of each kind; medians are over them."""
    seed: int = 0
    """Noted in the tables."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = _OUT
    """Folder for the results."""
    quick: _Flag = False
    """Few updates only, to see that everything works."""


@dataclass(frozen=True)
class GPUArguments:
    """Measure gradient steps on a GPU, of one agent and of several seeds, beside Stable-Baselines3's."""

    device: Annotated[str, tyro.conf.arg(metavar="cuda|cpu")] = "cuda"
    """Where the networks are; "cpu" shows what it does without a GPU."""
    stacks: tuple[int, ...] = (1, 8)
    """Numbers of seeds to train at once."""
    rounds: int = 9
    """Rounds; medians, smallest and largest ratios are over them."""
    seed: int = 0
    """Seed of networks and data."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = _OUT
    """Folder for the results."""
    quick: _Flag = False
    """A few small measurements only, to see that everything works."""


@dataclass(frozen=True)
class GPULearningArguments:
    """Train several seeds at once on HalfCheetah-v5 until their mean return is 9656, or the time is over."""

    agent: str = "hyper-td3"
    """Name of an off-policy agent."""
    device: Annotated[str, tyro.conf.arg(metavar="cuda|cpu")] = "cuda"
    """Where the networks are; "cpu" shows what it does without a GPU."""
    seeds: int = 8
    """How many seeds."""
    minutes: float = 10.0
    """How long to learn at most, evaluations left out."""
    threads: int = 0
    """CPU threads that simulate; 0 for as many as there are processors, at most one for each seed."""
    every: int = 25_000
    """Steps between evaluations."""
    seed: int = 0
    """The first seed."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = _OUT
    """Folder for the results."""


@dataclass(frozen=True)
class LearningArguments:
    """Learning curves of agents x environments x seeds, one process and one CSV for each; can be resumed."""

    agents: tuple[str, ...]
    """Names of agents, see `hyperrl list agents`."""
    envs: tuple[str, ...]
    """Gymnasium ids of environments, see `hyperrl list envs`."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder for the results; finished runs in it are not repeated."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of the runs."""
    steps: int = 100_000
    """Environment steps of each run."""
    preset: str = "default"
    """Preset of all agents."""
    set: tyro.conf.UseAppendAction[tuple[tuple[str, ...], ...]] = ()
    """Changes of the preset, KEY=VALUE in TOML."""
    eval_every: int = 5000
    """Steps between two evaluations."""
    eval_episodes: int = 5
    """Episodes of an evaluation."""
    workers: int = 1
    """Runs at a time, each in its own process with one thread."""
    device: Annotated[str, tyro.conf.arg(metavar="cpu|cuda")] = "cpu"
    """Where the networks run."""


@dataclass(frozen=True)
class PlotArguments:
    """Draw the learning curves in a folder and write their summary."""

    folder: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="DIR")]]
    """Folder of `hyperrl bench learning`."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder for pictures and summary; the same by default."""


@dataclass(frozen=True)
class SizesArguments:
    """Evaluate the finished runs of sweeps by the size of their policies, many in a run or one."""

    sweeps: tyro.conf.Positional[Annotated[tuple[Path, ...], tyro.conf.arg(metavar="DIR [DIR ...]")]]
    """Folders of `hyperrl sweep`."""
    episodes: int = 10
    """Episodes of each policy to pick by, and as many others to report."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = _OUT / "sizes"
    """Folder for the results."""


@dataclass(frozen=True)
class CompareArguments:
    """Compare the settings that sweeps varied by the returns of their finished runs, paired by seed."""

    sweeps: tyro.conf.Positional[Annotated[tuple[Path, ...], tyro.conf.arg(metavar="DIR [DIR ...]")]]
    """Folders of `hyperrl sweep`."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = _OUT / "compared"
    """Folder for the results."""


@dataclass(frozen=True)
class CheckpointArguments:
    """Measure what checkpoints cost with a full replay buffer, beside Stable-Baselines3's."""

    transitions: int = 1_000_000
    """Transitions in the replay buffer."""
    rounds: int = 5
    """Checkpoints of each kind; medians are over them."""
    seed: int = 0
    """Seed of networks and data."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = _OUT
    """Folder for the results; its disk is the one that is measured."""


@dataclass(frozen=True)
class FaultArguments:
    """Inject the same faults into hyperrl and Stable-Baselines3 and count what was lost."""

    scale: Annotated[str, tyro.conf.arg(metavar="pull-request|nightly")] = "pull-request"
    """How often each fault is injected."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = _OUT
    """Folder for the results."""
