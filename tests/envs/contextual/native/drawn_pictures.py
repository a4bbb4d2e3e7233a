"""Pictures of contextual environments that are stepped together."""

from __future__ import annotations

import numpy as np

from hyperrl.environments import make_env
from hyperrl_envs.contextual.native import make_contextual

SIZE = {"render_mode": "rgb_array", "width": 64, "height": 48}


def test_pictures_are_those_of_the_environment_alone():
    single = make_env("hyperrl/CheetahRun-v0", SIZE)
    single.reset(seed=0)
    venv = make_contextual("hyperrl/CheetahRun-v0", 1, 0, **SIZE)
    venv.reset()
    assert np.array_equal(venv.get_images()[0], single.render())
    venv.close(), single.close()
