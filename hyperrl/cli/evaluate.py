"""`hyperrl evaluate`: measure the policy of a run on new episodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from hyperrl.cli.arguments import flag, parse, parse_architecture
from hyperrl.config import parse_value
from hyperrl.errors import UsageError


@dataclass(frozen=True)
class EvaluateArguments:
    """Play deterministic episodes with seeds that the run has not used, and write DIR/eval/episodes.csv."""

    run: tyro.conf.Positional[Annotated[str, flag("DIR")]] = ""
    """The run's folder."""
    episodes: Annotated[str, flag("K")] = "20"
    """How many episodes (20)."""
    seed: Annotated[str, flag("S")] = "0"
    """Seed of this evaluation (0)."""
    checkpoint: Annotated[str, flag("latest|best|STEPS")] = "latest"
    """Which weights (latest)."""
    architecture: Annotated[str, flag("16,16")] = ""
    """Which policy, by its hidden widths, of an agent that has several (the largest)."""


def main(argv: Sequence[str]) -> int:
    """Run the verb.

    Args:
        argv: The arguments after the verb.

    Returns:
        The exit status.

    Raises:
        HyperRLError: The arguments are wrong, or the run cannot be evaluated.
    """
    arguments = parse(EvaluateArguments, argv, "evaluate")
    if not arguments.run:
        raise UsageError("evaluate needs the folder of a run, for example hyperrl evaluate runs/my-run")

    from hyperrl.evaluate import evaluate

    result = evaluate(
        arguments.run,
        parse_value(arguments.episodes),
        seed=parse_value(arguments.seed),
        checkpoint=arguments.checkpoint,
        architecture=parse_architecture(arguments.architecture),
    )
    config = result.folder.config()
    print(f"{config.agent} on {config.env}, checkpoint {result.checkpoint} after {result.steps:,} steps")
    if result.architecture:
        print(f"architecture {','.join(map(str, result.architecture))}")
    print(f"{len(result.episodes)} episodes, return with 95 % bootstrap interval:")
    for name, interval in (("mean", result.mean), ("IQM", result.iqm)):
        print(f"  {name:<4}  {interval.estimate:10.1f}  [{interval.low:.1f}, {interval.high:.1f}]")
    if result.file is not None:
        print(result.file)
    return 0
