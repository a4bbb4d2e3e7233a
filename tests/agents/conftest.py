"""Every test starts from the same random numbers, whatever ran before it."""

from __future__ import annotations

import numpy as np
import pytest
import torch as th


@pytest.fixture(autouse=True)
def seeded():
    np.random.seed(0)
    th.manual_seed(0)
