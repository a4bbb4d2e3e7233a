"""The quadrotor with something hung below it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, cast

import mujoco

from hyperrl.errors import ConfigError
from hyperrl_envs.quadrotor.env import QuadrotorEnv
from hyperrl_envs.quadrotor.task import Quadrotor

BELOW = 0.03
"""How far below the robot's centre the payload hangs, rigidly, in metres."""


@dataclass(frozen=True, kw_only=True)
class LoadedQuadrotor(Quadrotor):
    """The quadrotor with a point mass below its centre, of nothing as it is loaded; see `Quadrotor`.

    The payload is a body of its own. MuJoCo takes robots whose centre of mass is their origin for simpler
    than others and never looks again: with a part below, also one without mass, it does not.
    """

    def load(self) -> Any:
        """Load the model and hang the payload below it, see `Task.load`."""
        return self.specification().compile()

    def specification(self) -> Any:
        """Return the `mujoco.MjSpec` of the model with the payload.

        Raises:
            ConfigError: There is no such file, or it has no robot.
        """
        try:
            spec = mujoco.MjSpec.from_file(self.xml_file)
        except ValueError as error:
            raise ConfigError(
                f"xml_file {self.xml_file!r} cannot be loaded: {str(error).splitlines()[0]}"
            ) from error
        robot = spec.body("quadrotor")
        if robot is None:
            raise ConfigError("the model has no body 'quadrotor', which the task needs")
        robot.add_body(
            name="payload",
            pos=[0, 0, -BELOW],
            explicitinertial=True,
            mass=0,
            ipos=[0, 0, 0],
            inertia=[0, 0, 0],
        )
        return spec


class LoadedQuadrotorEnv(QuadrotorEnv):
    """The quadrotor with a payload, see `LoadedQuadrotor`; the arguments are those of `QuadrotorEnv`."""

    kind: ClassVar[type[Quadrotor]] = LoadedQuadrotor

    def model_specification(self) -> Any:
        """Return the `mujoco.MjSpec` that the model comes from: the file has no payload."""
        return cast(LoadedQuadrotor, self.task).specification()
