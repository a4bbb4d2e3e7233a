"""What makes a run survive: its folder, its manifest, its seeds, its checkpoints."""

from hyperrl.run.folder import RunFolder
from hyperrl.run.place import default_folder
from hyperrl.run.result import Run

__all__ = ["Run", "RunFolder", "default_folder"]
