"""The parameters that all walking and running bodies have.

Factors of dynamics train from 0.75 to 1.25 and are tested from 0.5 to 1.5. The published ranges of Packer et
al. 2018, "Assessing Generalization in Deep Reinforcement Learning", fit within: density 1000 kg/m^3 trained
from 750 to 1250 and tested down to 500 and up to 1500; motor strength of Hopper and HalfCheetah trained from
0.6 to 1.1 and tested from 0.4 to 1.3 of the published gears; friction trained from 0.5 to 1.1 and tested from
0.2 to 1.4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hyperrl.context import ContextParam

_TRAIN = (0.75, 1.25)


def dynamics(*, armature: bool = False) -> tuple[ContextParam, ...]:
    """Return the factors of mass, gravity, friction, damping and motor strength.

    Friction scales that of the floor and of the robot: MuJoCo takes the larger one of two geoms that touch,
    so the friction of every contact is then the published one times the factor.

    Args:
        armature: Whether also that of the joints' armature, where the body has enough of it to matter.
    """
    factors = [
        ContextParam(
            "mass",
            0.5,
            1.5,
            fields=("body_mass", "body_inertia"),
            level="setconst",
            train=_TRAIN,
            summary="factor of the masses and inertias of all bodies",
        ),
        ContextParam("gravity", 0.5, 1.5, fields=("opt.gravity",), train=_TRAIN, summary="factor of gravity"),
        ContextParam(
            "friction",
            0.2,
            1.5,
            fields=("geom_friction",),
            train=(0.5, 1.1),
            summary="factor of the friction of robot and floor",
        ),
        ContextParam(
            "damping",
            0.5,
            1.5,
            fields=("dof_damping",),
            train=_TRAIN,
            summary="factor of the joints' damping",
        ),
        ContextParam(
            "motor_strength",
            0.4,
            1.5,
            fields=("actuator_gear",),
            level="setconst",
            train=(0.6, 1.1),
            summary="factor of the motors' torques",
        ),
    ]
    if armature:
        factors.append(
            ContextParam(
                "armature",
                0.5,
                1.5,
                fields=("dof_armature",),
                level="setconst",
                train=_TRAIN,
                summary="factor of the joints' armature",
            )
        )
    return tuple(factors)


def density(default: float, low: float, high: float, train: tuple[float, float], log: bool) -> ContextParam:
    """Return the density of all geoms, in kg/m^3; masses and inertias follow from the compiler.

    Args:
        default: The published density.
        low: The least of all.
        high: The greatest.
        train: The range in training.
        log: Whether densities are drawn and spaced by their logarithms.
    """
    return ContextParam(
        "density",
        low,
        high,
        default,
        op="set",
        fields=("density",),
        level="recompile",
        log=log,
        train=train,
        unit="kg/m^3",
        summary="density of the robot's geoms",
    )


def limb_length(bodies: Sequence[str]) -> ContextParam:
    """Return the factor of the lengths of limbs.

    Args:
        bodies: The limbs.
    """
    return ContextParam(
        "limb_length",
        0.5,
        1.5,
        fields=("limb_length",),
        select=tuple(bodies),
        level="recompile",
        train=_TRAIN,
        summary="factor of the length of the legs",
    )


def signs(groups: Mapping[str, Sequence[str]]) -> tuple[ContextParam, ...]:
    """Return the sign of all motors, and the signs of groups of them and of each one, +1 or -1.

    A sign of -1 turns the torque round. Several in one context multiply: trained on some combinations, a
    policy can be tested on others.

    Args:
        groups: Names of actuators, or of their joints, by the name of the parameter.
    """
    return tuple(
        ContextParam(
            name,
            -1.0,
            1.0,
            fields=("actuator_gear",),
            select=tuple(actuators),
            level="setconst",
            choices=(-1.0, 1.0),
            summary=f"sign of the torque of {', '.join(actuators) or 'all motors'}",
        )
        for name, actuators in {"actuator_sign": (), **groups}.items()
    )


def goals(fastest: float, train: tuple[float, float]) -> tuple[ContextParam, ...]:
    """Return target velocity, direction and control cost; see `hyperrl_envs.contextual.rewards.locomotion`.

    Args:
        fastest: The greatest target velocity in m/s.
        train: Those of training.
    """
    return (
        ContextParam(
            "target_velocity",
            0.0,
            fastest,
            sum(train) / 2,
            op="set",
            fields=("locomotion.target_velocity",),
            level="reward",
            train=train,
            unit="m/s",
            summary="velocity to be kept, instead of running as fast as possible",
        ),
        ContextParam(
            "direction",
            -1.0,
            1.0,
            op="set",
            fields=("locomotion.direction",),
            level="reward",
            choices=(-1.0, 1.0),
            summary="direction along x to run in",
        ),
        ContextParam(
            "control_cost",
            0.0,
            4.0,
            fields=("locomotion.control_cost",),
            level="reward",
            train=(0.5, 2.0),
            summary="factor of the cost of control",
        ),
    )
