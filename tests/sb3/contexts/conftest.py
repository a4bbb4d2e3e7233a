"""Every test starts from the same random numbers, whatever ran before it."""

from __future__ import annotations

import pytest
import torch as th


@pytest.fixture(autouse=True)
def seeded():
    th.manual_seed(0)
