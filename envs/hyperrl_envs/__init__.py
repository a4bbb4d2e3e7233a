"""The environments of hyperrl and what the library needs to know about Gymnasium's MuJoCo tasks.

Importing this package makes its environments known to Gymnasium, and loads no simulator:
``gymnasium.make("hyperrl_envs:hyperrl/Quadrotor-v0")``.
"""

from __future__ import annotations

from hyperrl_envs.registration import register

register()
