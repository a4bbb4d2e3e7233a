"""`hyperrl bench`: gradient steps, contraction orders, environments, learning curves, checkpoints, faults."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hyperrl.bench.arguments import (
    ArchitecturesArguments,
    CheckpointArguments,
    CompareArguments,
    ContextEvaluationArguments,
    ContextsArguments,
    FaultArguments,
    GPUArguments,
    GPULearningArguments,
    HyperZeroArguments,
    LearningArguments,
    LoopArguments,
    MetaArguments,
    PeakArguments,
    PlotArguments,
    PPOArguments,
    SizesArguments,
    SpeedArguments,
    StartupArguments,
    VecEnvArguments,
    WarpArguments,
)
from hyperrl.cli.arguments import parse
from hyperrl.errors import UsageError, unknown_name
from hyperrl.ranges import above, whole


def main(argv: Sequence[str]) -> int:
    """Run the verb.

    Args:
        argv: The arguments after the verb: one of the words in `_USAGE` and its own; without any of these
            words both measurements of speed.

    Returns:
        0, or 1 if something measured missed its limit, or hyperrl lost something to a fault.

    Raises:
        HyperRLError: The arguments are wrong, or the results cannot be written.
    """
    word = argv[0] if argv and not argv[0].startswith("-") else None
    if word is None and set(argv) & {"-h", "--help"}:
        print(_USAGE)
        return 0
    if word is None:
        arguments = parse(SpeedArguments, argv, "bench")
        return max(_update(arguments), _contraction(arguments))
    if word not in _PARTS:
        raise unknown_name("benchmark", word, _PARTS)
    form, run = _PARTS[word]
    return run(parse(form, argv[1:], f"bench {word}"))


def _update(arguments: SpeedArguments) -> int:
    from hyperrl.bench import report, timing, update

    timing.prepare(arguments.device, arguments.threads)
    rounds = 2 if arguments.quick else int(whole(1, 1000).check("rounds", arguments.rounds))
    folder = report.open_folder(arguments.out)
    rows: list[dict[str, Any]] = []
    for comparison in update.comparisons(arguments.quick):
        print(f"timing {comparison.name}, batch {comparison.batch_size}", flush=True)
        rows += update.measure(comparison, rounds=rounds, device=arguments.device, seed=arguments.seed)
    clock = timing.deciding_clock(arguments.device)
    columns = ["comparison", "variant", "batch_size", "cpu_ms", "wall_ms", f"{clock}_ratio"]
    columns += [f"{clock}_ratio_min", f"{clock}_ratio_max", "speedup", "ratio_limit", "met"]
    report.show("Full gradient step, ratio to the first variant", rows, columns)
    _save(arguments, folder, "update", rows)
    # A quick look is no measurement: nothing is judged by it.
    return int(not arguments.quick and any(row["met"] is False for row in rows))


def _contraction(arguments: SpeedArguments) -> int:
    from hyperrl.bench import contraction, report, timing

    timing.prepare(arguments.device, arguments.threads)
    rounds = 2 if arguments.quick else int(whole(1, 1000).check("rounds", arguments.rounds))
    folder = report.open_folder(arguments.out)
    rows: list[dict[str, Any]] = []
    for case in contraction.cases(arguments.quick):
        rows += contraction.measure(case, rounds=rounds, device=arguments.device, seed=arguments.seed)
    lines = contraction.overview(rows)
    report.show("One generated layer, times in units of materialise + bmm", lines, list(lines[0]))
    _save(arguments, folder, "contraction", rows)
    return 0


def _vecenv(arguments: VecEnvArguments) -> int:
    from hyperrl.bench import report, timing, vecenv

    timing.prepare("cpu", 1)
    rounds = 2 if arguments.quick else int(whole(1, 1000).check("rounds", arguments.rounds))
    folder = report.open_folder(arguments.out)
    passed = vecenv.publish(folder, rounds=rounds, seed=arguments.seed, quick=arguments.quick)
    return int(not passed)


def _contexts(arguments: ContextsArguments) -> int:
    from hyperrl.bench import contexts, report, timing

    timing.prepare("cpu", 1)
    rounds = 2 if arguments.quick else int(whole(1, 1000).check("rounds", arguments.rounds))
    folder = report.open_folder(arguments.out)
    return int(not contexts.publish(folder, rounds=rounds, seed=arguments.seed, quick=arguments.quick))


def _context_evaluation(arguments: ContextEvaluationArguments) -> int:
    from hyperrl.bench import context_evaluation, report, timing

    timing.prepare("cpu", 1)
    rounds = 2 if arguments.quick else int(whole(1, 1000).check("rounds", arguments.rounds))
    folder = report.open_folder(arguments.out)
    passed = context_evaluation.publish(folder, rounds=rounds, seed=arguments.seed, quick=arguments.quick)
    return int(not passed)


def _warp(arguments: WarpArguments) -> int:
    from hyperrl.bench import report, timing, warp

    timing.prepare(arguments.device, 1)
    rounds = 2 if arguments.quick else int(whole(1, 1000).check("rounds", arguments.rounds))
    folder = report.open_folder(arguments.out)
    passed = warp.publish(
        folder, device=arguments.device, rounds=rounds, seed=arguments.seed, quick=arguments.quick
    )
    return int(not passed)


def _ppo(arguments: PPOArguments) -> int:
    from hyperrl.bench import ppo, report, timing

    timing.prepare("cpu", 1)
    rounds = 2 if arguments.quick else int(whole(1, 1000).check("rounds", arguments.rounds))
    folder = report.open_folder(arguments.out)
    return int(not ppo.publish(folder, rounds=rounds, seed=arguments.seed, quick=arguments.quick))


def _hyper_zero(arguments: HyperZeroArguments) -> int:
    from hyperrl.bench import hyper_zero, report, timing

    timing.prepare(arguments.device, 1)
    rounds = 2 if arguments.quick else int(whole(1, 1000).check("rounds", arguments.rounds))
    folder = report.open_folder(arguments.out)
    settings: dict[str, Any] = {"rounds": rounds, "device": arguments.device, "seed": arguments.seed}
    return int(not hyper_zero.publish(folder, **settings, quick=arguments.quick))


def _meta(arguments: MetaArguments) -> int:
    from hyperrl.bench import meta, report, timing

    timing.prepare(arguments.device, 1)
    rounds = 2 if arguments.quick else int(whole(1, 1000).check("rounds", arguments.rounds))
    folder = report.open_folder(arguments.out)
    settings: dict[str, Any] = {"rounds": rounds, "device": arguments.device, "seed": arguments.seed}
    return int(not meta.publish(folder, **settings, quick=arguments.quick))


def _peak(arguments: PeakArguments) -> int:
    from hyperrl.bench import peak, report, timing

    timing.prepare("cpu", 1)
    rounds = 2 if arguments.quick else int(whole(1, 1000).check("rounds", arguments.rounds))
    folder = report.open_folder(arguments.out)
    return int(not peak.publish(folder, rounds=rounds, seed=arguments.seed, quick=arguments.quick))


def _loop(arguments: LoopArguments) -> int:
    from hyperrl.bench import loop, report, timing

    timing.prepare("cpu", 1)
    rounds = 2 if arguments.quick else int(whole(1, 1000).check("rounds", arguments.rounds))
    folder = report.open_folder(arguments.out)
    return int(not loop.publish(folder, rounds=rounds, seed=arguments.seed, quick=arguments.quick))


def _architectures(arguments: ArchitecturesArguments) -> int:
    from hyperrl.bench import architectures, report, timing

    timing.prepare("cpu", 1)
    rounds = 2 if arguments.quick else int(whole(1, 1000).check("rounds", arguments.rounds))
    folder = report.open_folder(arguments.out)
    passed = architectures.publish(folder, rounds=rounds, seed=arguments.seed, quick=arguments.quick)
    return int(not passed)


def _startup(arguments: StartupArguments) -> int:
    from hyperrl.bench import processes, report, timing

    timing.prepare("cpu", 1)
    rounds = 1 if arguments.quick else int(whole(1, 1000).check("rounds", arguments.rounds))
    folder = report.open_folder(arguments.out)
    return int(not processes.publish(folder, rounds=rounds, seed=arguments.seed, quick=arguments.quick))


def _gpu(arguments: GPUArguments) -> int:
    from hyperrl.bench import gpu, report, timing

    timing.prepare(arguments.device, 1)
    rounds = 2 if arguments.quick else int(whole(1, 1000).check("rounds", arguments.rounds))
    stacks = tuple(int(whole(1, 1024).check("stacks", count)) for count in arguments.stacks)
    folder = report.open_folder(arguments.out)
    settings: dict[str, Any] = {"device": arguments.device, "rounds": rounds, "stacks": stacks}
    return int(not gpu.publish(folder, **settings, seed=arguments.seed, quick=arguments.quick))


def _gpu_learning(arguments: GPULearningArguments) -> int:
    from hyperrl.bench import gpu_learning, report, timing

    timing.prepare(arguments.device, 1)
    settings: dict[str, Any] = {
        "agent": arguments.agent,
        "device": arguments.device,
        "seeds": int(whole(1, 1024).check("seeds", arguments.seeds)),
        "minutes": above(0, 1e6).check("minutes", arguments.minutes),
        "threads": int(whole(0, 1024).check("threads", arguments.threads)),
        "every": int(whole(1, 1e9).check("every", arguments.every)),
        "seed": arguments.seed,
    }
    return int(not gpu_learning.publish(report.open_folder(arguments.out), **settings))


def _save(arguments: SpeedArguments, folder: Path, name: str, rows: list[dict[str, Any]]) -> None:
    from hyperrl.bench import report

    path = folder / f"{name}{'' if arguments.device == 'cpu' else '-cuda'}.csv"
    report.write_table(path, rows)
    settings = {"seed": arguments.seed, "threads": arguments.threads, "device": arguments.device}
    report.record(folder, {path.name: {**settings, "rounds": rows[0]["rounds"], "quick": arguments.quick}})
    print(path)


def _learning(arguments: LearningArguments) -> int:
    from hyperrl.bench import timing
    from hyperrl.bench.sweep import Sweep, sweep

    timing.prepare(arguments.device, 1)
    plan = Sweep(
        arguments.agents,
        arguments.envs,
        arguments.seeds,
        arguments.steps,
        preset=arguments.preset,
        settings=tuple(setting for group in arguments.set for setting in group),
        eval_every=arguments.eval_every,
        eval_episodes=arguments.eval_episodes,
        device=arguments.device,
    )
    sweep(plan, arguments.out, arguments.workers)
    print(f"next: hyperrl bench plot {arguments.out}")
    return 0


def _checkpoint(arguments: CheckpointArguments) -> int:
    from hyperrl.bench import checkpoint, report, timing

    timing.prepare("cpu", 1)
    transitions = int(whole(10_000, 1e9).check("transitions", arguments.transitions))
    rounds = int(whole(1, 1000).check("rounds", arguments.rounds))
    folder = report.open_folder(arguments.out)
    rows = checkpoint.measure(transitions, folder, rounds=rounds, seed=arguments.seed)
    columns = ["checkpoint", "new_transitions", "ms", "ms_min", "ms_max", "wall_ms", "cpu_ms"]
    columns += ["megabytes_written", "new_rows_ms", "other_ms", "limit_of_other_ms", "met"]
    report.show(f"Checkpoint with {transitions:,} transitions in the replay buffer", rows, columns)
    path = folder / "checkpoint.csv"
    report.write_table(path, rows)
    settings = {"seed": arguments.seed, "threads": 1, "device": "cpu", "transitions": transitions}
    report.record(folder, {path.name: {**settings, "rounds": rounds}})
    print(path)
    return int(any(row["met"] is False for row in rows))


def _faults(arguments: FaultArguments) -> int:
    from hyperrl.bench import faults, report

    scale = faults.scale_named(arguments.scale)
    folder = report.open_folder(arguments.out)
    rows = faults.measure(scale)
    lines = faults.overview(rows)
    report.show("What was lost to faults", lines, list(lines[0]))
    path = folder / "faults.csv"
    report.write_table(path, rows)
    report.record(folder, {path.name: {"seed": 0, "threads": 1, "device": "cpu", "scale": arguments.scale}})
    print(path)
    return int(any(row["lost"] for row in rows if row["library"] == "hyperrl"))


def _compare(arguments: CompareArguments) -> int:
    from hyperrl.bench import compare, report

    compare.publish(arguments.sweeps, report.open_folder(arguments.out))
    return 0


def _sizes(arguments: SizesArguments) -> int:
    from hyperrl.bench import report, sizes

    episodes = int(whole(1, 10_000).check("episodes", arguments.episodes))
    sizes.publish(arguments.sweeps, report.open_folder(arguments.out), episodes)
    return 0


def _plot(arguments: PlotArguments) -> int:
    from hyperrl.bench import report
    from hyperrl.bench.curves import read_curves, summarise
    from hyperrl.bench.plot import plot

    if not arguments.folder.is_dir():
        raise UsageError(f"{arguments.folder} is no folder: give the one of hyperrl bench learning")
    curves = read_curves(arguments.folder)
    folder = report.open_folder(arguments.out or arguments.folder)
    for env in sorted({curve.env for curve in curves}):
        path = folder / f"{env.replace('/', '_').replace(':', '_')}.png"
        plot(curves, env, path)
        print(path)
    rows = summarise(curves)
    report.write_table(folder / "summary.csv", rows)
    columns = [
        "env",
        "agent",
        "seeds",
        "final",
        "final_low",
        "final_high",
        "area",
        "cpu_seconds_per_1000_steps",
    ]
    columns += ["final_difference", "area_difference", "at_equal_cpu_difference", "cpu_ratio"]
    report.show("Means over seeds; differences are paired by seed", rows, columns)
    print(folder / "summary.csv")
    return 0


_PARTS: dict[str, tuple[type[Any], Callable[[Any], int]]] = {
    "update": (SpeedArguments, _update),
    "contraction": (SpeedArguments, _contraction),
    "vecenv": (VecEnvArguments, _vecenv),
    "contexts": (ContextsArguments, _contexts),
    "context-evaluation": (ContextEvaluationArguments, _context_evaluation),
    "warp": (WarpArguments, _warp),
    "ppo": (PPOArguments, _ppo),
    "peak": (PeakArguments, _peak),
    "hyper-zero": (HyperZeroArguments, _hyper_zero),
    "meta": (MetaArguments, _meta),
    "loop": (LoopArguments, _loop),
    "architectures": (ArchitecturesArguments, _architectures),
    "startup": (StartupArguments, _startup),
    "gpu": (GPUArguments, _gpu),
    "gpu-learning": (GPULearningArguments, _gpu_learning),
    "learning": (LearningArguments, _learning),
    "plot": (PlotArguments, _plot),
    "compare": (CompareArguments, _compare),
    "sizes": (SizesArguments, _sizes),
    "checkpoint": (CheckpointArguments, _checkpoint),
    "faults": (FaultArguments, _faults),
}
_USAGE = """usage: hyperrl bench [WORD] ...

  update       full gradient steps against Stable-Baselines3's and a naive hyper critic's
  contraction  the orders of evaluating a generated layer against each other
  vecenv       native MuJoCo environments against Stable-Baselines3's vectorised ones
  contexts     changing a context at a reset, against a step and against loading the robot's file
  context-evaluation  one policy in 64 contexts: simulated together, against one after the other
  warp         environments simulated with MuJoCo Warp: captured, not captured, against native ones
  ppo          whole iterations of PPO, compiled and with native environments, against Stable-Baselines3's
  peak         the published critic's step against what the processor multiplies at best
  hyper-zero   HyperZero's training step grouped by task against generation for each sample
  meta         weights once for each task, layers without matrices, memory in one call
  loop         training end to end, compiled and not, against Stable-Baselines3's
  architectures  policies of many architectures: generated, applied and trained, against the published way
  startup      how long a process takes to its first updates, and whether two hinder each other
  gpu          gradient steps on a GPU, of one agent and of several seeds at once
  gpu-learning how soon several seeds, trained at once on a GPU, reach a return
  learning     learning curves of agents, environments and seeds, on several processes
  plot         pictures and a summary of learning curves
  compare      returns of the settings of a sweep, paired by seed
  checkpoint   what a checkpoint with a full replay buffer costs
  faults       what is lost to faults: killed saves, full disks, flipped bits, NaN, dying workers

Without one of these words it does update and contraction. hyperrl bench update --help explains more."""
