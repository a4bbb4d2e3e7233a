"""The folder of one run, the place where training, evaluation and export meet.

```
run.toml        the resolved configuration
manifest.json   versions, code, machine, command, times
status.json     state and steps
run.lock        held by the process that trains, whose number is in owner.json meanwhile
tb/             TensorBoard logs
ckpt/           checkpoints, see `hyperrl.run.store`
eval/           evaluations.csv (while training), episodes.csv (later)
```
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hyperrl.config import RunConfig
from hyperrl.errors import CheckpointError, RunFolderError, unknown_name
from hyperrl.run.files import write_json, write_text
from hyperrl.run.lock import RunLock
from hyperrl.run.manifest import build_manifest, utc_now
from hyperrl.run.place import default_folder, refuse_taken
from hyperrl.run.store import Checkpoint, CheckpointStore

STATES = ("created", "running", "finished", "failed", "stopped")


@dataclass(frozen=True)
class RunFolder:
    """A run folder and the paths in it.

    Attributes:
        path: The absolute path.
    """

    path: Path

    @property
    def tensorboard(self) -> Path:
        """Where the TensorBoard logs lie."""
        return self.path / "tb"

    @property
    def checkpoints(self) -> Path:
        """Where the checkpoints lie, one folder each."""
        return self.path / "ckpt"

    @property
    def store(self) -> CheckpointStore:
        """The checkpoints."""
        return CheckpointStore(self.checkpoints)

    @property
    def lock(self) -> RunLock:
        """What a process holds while it trains here; use it in a `with` statement."""
        return RunLock(self.path)

    @property
    def evaluation(self) -> Path:
        """Where results of evaluations lie."""
        return self.path / "eval"

    @classmethod
    def place(cls, config: RunConfig) -> Path:
        """Return where the run's folder will be, writing nothing.

        Args:
            config: The run's configuration; its `out` or else `default_folder` says where.

        Raises:
            RunFolderError: The place is taken.
        """
        path = (
            (Path(config.out) if config.out is not None else default_folder(config)).expanduser().absolute()
        )
        refuse_taken(path)
        return path

    @classmethod
    def create(cls, config: RunConfig, path: Path | None = None) -> RunFolder:
        """Make the folder of a new run, with its configuration, manifest and status.

        Args:
            config: The run's configuration.
            path: What `place` returned; None asks it now.

        Raises:
            RunFolderError: The place is taken, or cannot be written. Nothing that was there is touched.
        """
        folder = cls(path if path is not None else cls.place(config))
        try:
            folder._claim(config)
        except RunFolderError:
            raise
        except OSError as error:
            raise RunFolderError(
                f"the run folder {folder.path} cannot be written: {error.strerror or error}"
            ) from error
        return folder

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """Return the folder of an existing run.

        Args:
            path: The folder.

        Raises:
            RunFolderError: There is no run in it.
        """
        folder = cls(Path(path).expanduser().absolute())
        if not folder.path.is_dir():
            raise RunFolderError(
                f"there is no folder {folder.path}: give the folder that `hyperrl train` printed last"
            )
        if not (folder.path / "run.toml").is_file():
            raise RunFolderError(f"{folder.path} holds no run: it has no run.toml")
        return folder

    def config(self) -> RunConfig:
        """Read the run's configuration.

        Raises:
            RunFolderError: `run.toml` cannot be read.
            ConfigError: It is damaged.
        """
        try:
            text = (self.path / "run.toml").read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise RunFolderError(f"{self.path / 'run.toml'} cannot be read: {error}") from error
        return RunConfig.from_toml(text, str(self.path / "run.toml"))

    def status(self) -> dict[str, Any]:
        """Read `status.json`: `state`, `steps`, `updated` and, after a failure, `error`.

        Raises:
            RunFolderError: It is missing or damaged.
        """
        return self._read_json("status.json")

    def set_status(self, state: str, steps: int, error: str | None = None) -> None:
        """Replace `status.json`.

        Args:
            state: One of "created", "running", "finished", "failed", "stopped".
            steps: Environment steps taken so far.
            error: What went wrong, in one line.

        Raises:
            UnknownNameError: There is no such state.
        """
        if state not in STATES:
            raise unknown_name("state of a run", state, STATES)
        status = {"state": state, "steps": steps, "updated": utc_now()}
        write_json(self.path / "status.json", status if error is None else {**status, "error": error})

    def manifest(self) -> dict[str, Any]:
        """Read `manifest.json`.

        Raises:
            RunFolderError: It is missing or damaged.
        """
        return self._read_json("manifest.json")

    def close_manifest(self) -> None:
        """Write the end time into `manifest.json`."""
        # A disk that is full now must not hide how the run ended.
        with contextlib.suppress(OSError):
            write_json(self.path / "manifest.json", {**self.manifest(), "finished": utc_now()})

    def note_resume(self, steps: int) -> None:
        """Write into `manifest.json` that another process continues the run, and with what.

        Args:
            steps: Environment steps at which it continues.

        Raises:
            RunFolderError: It cannot be written; it is unchanged then.
        """
        manifest = self.manifest()
        now = {key: value for key, value in build_manifest(manifest["seed"]).items() if key != "finished"}
        resumed = [*manifest.get("resumed", []), {"steps": steps, **now}]
        try:
            write_json(self.path / "manifest.json", {**manifest, "finished": None, "resumed": resumed})
        except OSError as error:
            raise RunFolderError(
                f"{self.path / 'manifest.json'} cannot be written: {error.strerror or error}"
            ) from error

    def checkpoint(self, name: str = "latest", *, replay: bool = True) -> Checkpoint:
        """Read and verify a checkpoint.

        Args:
            name: "latest", "best" or the number of steps, for example "12000".
            replay: Whether to verify the content of the replay buffer, too, which takes longer.

        Raises:
            CheckpointError: The run has no checkpoint yet.
            CheckpointCorruptError: It is damaged, and no other one can stand in for it.
            UnknownNameError: There is no such checkpoint; the sentence names those that there are.
        """
        store = self.store
        if not store.names():
            state = self.status().get("state", "unknown")
            raise CheckpointError(
                f"the run {self.path} has no checkpoint yet: its state is {state}; begin it again "
                f"with: hyperrl train AGENT --config {self.path / 'run.toml'}"
            )
        return store.load(name, replay=replay)

    def change_steps(self, config: RunConfig) -> None:
        """Write another length of the run into `run.toml`.

        Args:
            config: The run's configuration with the new number of steps.

        Raises:
            RunFolderError: The file cannot be written; it is unchanged then.
        """
        try:
            write_text(self.path / "run.toml", dataclasses.replace(config, out=None).to_toml())
        except OSError as error:
            raise RunFolderError(
                f"{self.path / 'run.toml'} cannot be written: {error.strerror or error}"
            ) from error

    def try_status(self, state: str, steps: int, error: str | None = None) -> None:
        """Do as `set_status` does, but let a full disk pass: training does not need the file.

        Args:
            state: One of `STATES`.
            steps: Environment steps taken so far.
            error: What went wrong, in one line.
        """
        with contextlib.suppress(OSError):
            self.set_status(state, steps, error)

    def _claim(self, config: RunConfig) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        refuse_taken(self.path)
        # Mode "x" lets only one of two processes that start at the same time have the folder.
        try:
            with (self.path / "run.toml").open("x", encoding="utf-8") as file:
                file.write(dataclasses.replace(config, out=None).to_toml())
        except FileExistsError as error:
            raise RunFolderError(f"{self.path} already holds a run: choose another folder") from error
        write_json(self.path / "manifest.json", build_manifest(config.seed))
        self.set_status("created", 0)
        for folder in (self.tensorboard, self.checkpoints, self.evaluation):
            folder.mkdir()

    def _read_json(self, name: str) -> dict[str, Any]:
        try:
            table = json.loads((self.path / name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunFolderError(f"{self.path / name} cannot be read: {error}") from error
        if not isinstance(table, dict):
            raise RunFolderError(f"{self.path / name} is damaged: it does not hold a JSON object")
        return table
