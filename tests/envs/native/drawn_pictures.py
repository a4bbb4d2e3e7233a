"""Pictures of environments that are stepped together."""

from __future__ import annotations

import numpy as np

from hyperrl.environments import make_vec_env
from tests.envs.native.pairs import random_actions


def test_pictures_are_those_of_gymnasium():
    settings = {"render_mode": "rgb_array", "width": 96, "height": 64}
    native = make_vec_env("Walker2d-v5", settings, 2, 0, native=True)
    dummy = make_vec_env("Walker2d-v5", settings, 2, 0)
    native.reset(), dummy.reset()
    for batch in random_actions("Walker2d-v5", 3, 2):
        native.step(batch), dummy.step(batch)
    expected, found = dummy.get_images(), native.get_images()
    assert found[0].shape == (64, 96, 3)
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one, other)
    assert native.render().shape == (128, 96, 3)
    native.close(), dummy.close()
