"""The ODE task of the Decision Adapter with contexts, `hyperrl/ContextualODE-v0`."""

from __future__ import annotations

from hyperrl.context import ContextParam
from hyperrl_envs.contextual.dynamics.ode import Ode
from hyperrl_envs.contextual.dynamics.suite import system_suite

SUITE = system_suite(
    "hyperrl/ContextualODE-v0",
    Ode,
    tuple(
        ContextParam(
            name,
            -20.0,
            20.0,
            Ode.nominal[name],
            op="set",
            fields=(name,),
            train=train,
            unit="1/s",
            summary=summary,
        )
        for name, train, summary in (
            ("c1", (-5.0, 5.0), "velocity for the action"),
            ("c2", (-1.0, 1.0), "velocity for its square"),
        )
    ),
    ("c1",),
)
"""One number, ``context=["c1"]``, or two, ``["c1", "c2"]``.

Beukman et al. (NeurIPS 2023) train with ``split="points", points=[[-5], [-1], [1], [5]]``, or for two numbers
with the eight points of {-1, 0, 1}^2 but the middle one, and test on [-10, 10] along each."""
