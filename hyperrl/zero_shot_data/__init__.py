"""Data sets of solved tasks: what one expert per task did, and what is read of it to learn from.

```
dataset.json            the manifest: environment, contexts, tasks, sizes and SHA-256 of all other files
tasks/task-000.safetensors   the transitions of one task
tasks/task-000.json     the record of that task, as in the manifest
```
"""

from hyperrl.zero_shot_data.dataset import Dataset
from hyperrl.zero_shot_data.manifest import DatasetManifest, TaskRecord
from hyperrl.zero_shot_data.transitions import Transitions

__all__ = ["Dataset", "DatasetManifest", "TaskRecord", "Transitions"]
