"""Peak memory of a piece of work."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

# The profiler's library prints a line at every start and stop unless told otherwise before its first use.
os.environ.setdefault("KINETO_LOG_LEVEL", "99")


def peak_bytes(function: Callable[[], object], device: str = "cpu") -> int:
    """Largest number of bytes that tensors made by a call hold at any one time.

    On the CPU every allocation and release that torch's profiler records is added up in order of time, so the
    figure does not depend on what the allocator keeps back. On a GPU it is torch's own statistic. What
    existed before the call does not count.

    Args:
        function: The work; called once before the measurement.
        device: "cpu" or "cuda".
    """
    function()
    if device == "cuda":
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        function()
        torch.cuda.synchronize()
        return int(torch.cuda.max_memory_allocated()) - int(before)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        # The result is dropped within the profile, or its release would be missing.
        function()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "trace.json")
        profiler.export_chrome_trace(str(path))
        events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    changes = [
        (event["ts"], int(event["args"]["Bytes"])) for event in events if event.get("name") == "[memory]"
    ]
    held = peak = 0
    for _, change in sorted(changes, key=lambda entry: entry[0]):
        held += change
        peak = max(peak, held)
    return peak
