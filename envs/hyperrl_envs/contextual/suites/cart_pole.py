"""The pole on a cart with contexts, `hyperrl/ContextualCartPole-v0`."""

from __future__ import annotations

from hyperrl.context import ContextParam
from hyperrl_envs.contextual.dynamics.cart_pole import CartPole
from hyperrl_envs.contextual.dynamics.suite import system_suite


def _param(
    name: str, low: float, high: float, train: tuple[float, float], unit: str, summary: str
) -> ContextParam:
    return ContextParam(
        name,
        low,
        high,
        CartPole.nominal[name],
        op="set",
        fields=(name,),
        log=True,
        train=train,
        unit=unit,
        summary=summary,
    )


SUITE = system_suite(
    "hyperrl/ContextualCartPole-v0",
    CartPole,
    (
        _param("gravity", 2.0, 30.0, (5.0, 15.0), "m/s^2", "gravity"),
        _param("cart_mass", 0.2, 5.0, (0.5, 2.0), "kg", "mass of the cart"),
        _param("pole_mass", 0.02, 1.0, (0.05, 0.5), "kg", "mass of the pole"),
        _param("length", 0.1, 10.0, (0.5, 6.0), "m", "half the length of the pole"),
        _param("force", 2.0, 30.0, (5.0, 15.0), "N", "greatest force on the cart"),
    ),
    ("length",),
)
"""The context of five numbers of the Decision Adapter (Beukman et al., NeurIPS 2023), who vary the length
alone: trained with ``split="points", points=[[1], [4], [6]]`` and tested from 0.1 to 10 m."""
