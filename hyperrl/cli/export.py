"""`hyperrl export`: files that act as the trained policy does, from the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from hyperrl.cli.arguments import flag, parse, parse_architecture
from hyperrl.config import parse_value
from hyperrl.errors import UsageError

if TYPE_CHECKING:
    from hyperrl.export import Source
    from hyperrl.exporters import Exported


@dataclass(frozen=True)
class ExportArguments:
    """Write a policy as files for another machine, once they were proved to act as the policy does."""

    run: tyro.conf.Positional[Annotated[str, flag("RUN")]] = ""
    """The run's folder, or a model file (.zip) of Stable-Baselines3."""
    format: tyro.conf.UseAppendAction[Annotated[tuple[str, ...], flag("c99|crazyflie|onnx|torch|npz")]] = ()
    """The format (c99); several with commas, or given several times."""
    architecture: Annotated[str, flag("16,16")] = ""
    """Widths of the hidden layers, for an agent that has policies of many architectures."""
    context: Annotated[str, flag("mass=1.2,friction=0.8")] = ""
    """The context to act in, for an agent that acts by one; what is missing takes its default."""
    weights: Annotated[str, flag("float32|int8")] = "float32"
    """Kind of weights (float32); int8 is for c99, and judged by its return."""
    checkpoint: Annotated[str, flag("latest|best|STEPS")] = "latest"
    """Which weights of a run (latest)."""
    out: Annotated[str, flag("DIR")] = ""
    """The folder to write (RUN/export/FORMAT-ARCHITECTURE)."""
    episodes: Annotated[str, flag("K")] = "0"
    """Play K new episodes with what was exported, for the manifest (0; 20 for int8)."""
    seed: Annotated[str, flag("S")] = "0"
    """Seed of those episodes (0)."""
    max_loss: Annotated[str, flag("SHARE")] = "0.05"
    """The share of the return that int8 weights may cost (0.05)."""
    prefix: Annotated[str, flag("NAME")] = "policy"
    """What names of functions and files begin with (policy)."""
    fold_normaliser: Annotated[tyro.conf.FlagCreatePairsOff[bool], tyro.conf.arg(help_behavior_hint="")] = (
        False
    )
    """Let the first layer do what the normaliser does, without its clip."""
    overwrite: Annotated[tyro.conf.FlagCreatePairsOff[bool], tyro.conf.arg(help_behavior_hint="")] = False
    """Replace an artefact that is there already."""
    verify: Annotated[str, flag("DIR")] = ""
    """Check an artefact instead: its hashes, and its actions."""
    agent: Annotated[str, flag("AGENT")] = ""
    """For a model file: the name of its agent, for example td3."""
    env: Annotated[str, flag("ID")] = ""
    """For a model file: the id of its environment."""
    vec_normalize: Annotated[str, flag("FILE")] = ""
    """For a model file: the file of its VecNormalize, where it was trained with one."""
    trust_pickle: Annotated[tyro.conf.FlagCreatePairsOff[bool], tyro.conf.arg(help_behavior_hint="")] = False
    """For a model file: load it, although such files can run code when they are loaded."""


def main(argv: Sequence[str]) -> int:
    """Run the verb.

    Args:
        argv: The arguments after the verb.

    Returns:
        The exit status.

    Raises:
        HyperRLError: The arguments are wrong, the policy cannot be exported, or an artefact was changed.
    """
    arguments = parse(ExportArguments, argv, "export")
    if arguments.verify:
        return _verify(arguments)
    if not arguments.run:
        raise UsageError("export needs the folder of a run, for example hyperrl export runs/my-run")
    formats = [name for text in arguments.format or ("c99",) for name in text.split(",") if name]

    from hyperrl.export import export, run_source

    source = _model_file(arguments) if arguments.run.endswith(".zip") else run_source(*_run_folder(arguments))
    try:
        exported = export(
            source,
            formats,
            architecture=parse_architecture(arguments.architecture),
            context=arguments.context or None,
            out=arguments.out or None,
            weights=arguments.weights,
            episodes=parse_value(arguments.episodes),
            seed=parse_value(arguments.seed),
            prefix=arguments.prefix,
            fold_normaliser=arguments.fold_normaliser,
            overwrite=arguments.overwrite,
            max_loss=parse_value(arguments.max_loss),
        )
    finally:
        if source.model.env is not None:
            source.model.env.close()
    for one in exported:
        show_exported(one)
    return 0


def _verify(arguments: ExportArguments) -> int:
    if arguments.run:
        raise UsageError("--verify checks an artefact and exports nothing: leave the run away")
    from hyperrl.exporters import verify

    table = verify(arguments.verify)
    print(f"{arguments.verify}: every file is as it was written, and the policy acts as it must")
    print(f"weights {table['policy']['weights_sha256']}")
    return 0


def _run_folder(arguments: ExportArguments) -> tuple[str, str]:
    for name in ("agent", "env", "vec_normalize"):
        if getattr(arguments, name):
            option = name.replace("_", "-")
            raise UsageError(f"--{option} is for a .zip file: the run folder {arguments.run} has its own")
    return arguments.run, arguments.checkpoint


def _model_file(arguments: ExportArguments) -> Source:
    from hyperrl.cli.model_file import load_model_file
    from hyperrl.export import model_source

    path = Path(arguments.run)
    if arguments.checkpoint != "latest":
        raise UsageError(f"--checkpoint is for the folder of a run: the file {path} holds one policy")
    normaliser = Path(arguments.vec_normalize) if arguments.vec_normalize else None
    model, vec_normalize = load_model_file(
        path,
        agent=arguments.agent or None,
        env=arguments.env or None,
        vec_normalize=normaliser,
        trusted=arguments.trust_pickle,
    )
    folder = path.absolute().parent
    return model_source(
        model, arguments.env, vec_normalize=vec_normalize, folder=folder, checkpoint=path.name
    )


def show_exported(exported: Exported) -> None:
    """Print what was exported, and where it lies last.

    Args:
        exported: The artefact.
    """
    table = exported.manifest
    policy, budget = table["policy"], table["budget"]
    print(
        f"{table['exporter']}: {'-'.join(map(str, policy['sizes']))}, {policy['weights']} weights, "
        f"{policy['parameters']:,} parameters, {budget['macs']:,} multiply-accumulates, "
        f"about {budget['flash_bytes']:,} bytes of flash, {budget['ram_bytes']:,} bytes of RAM"
    )
    for name, error in table["parity"]["largest_errors"].items():
        print(f"  largest difference from {name}: {error:.2g} of half the action range")
    evaluation = table["evaluation"]
    if evaluation is not None:
        low, high = evaluation["return_interval_95"]
        print(
            f"  return in {evaluation['episodes']} episodes: {evaluation['return_mean']:.1f}  "
            f"[{low:.1f}, {high:.1f}]"
        )
    if evaluation is not None and "lost_share" in evaluation:
        print(f"  lost to int8: {100 * evaluation['lost_share']:.2f} % of the return")
    print(exported.folder)
