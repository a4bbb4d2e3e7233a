"""What makes a run survive: its folder, its manifest, its seeds, its checkpoints."""

from hyperrl.run.folder import Run, RunFolder, default_folder

__all__ = ["Run", "RunFolder", "default_folder"]
