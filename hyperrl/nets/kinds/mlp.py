"""`mlp`: every weight is an affine function of features that a trunk computes from the condition."""

from __future__ import annotations

from typing import ClassVar

from hyperrl.nets.kinds.linear import LinearKind


class MlpKind(LinearKind):
    """The linear head behind a trunk; the usual hypernetwork (Ha et al., ICLR 2017; HypeRL, ICML 2021)."""

    default_hidden: ClassVar[tuple[int, ...]] = (64,)
    default_features: ClassVar[int | None] = 128
    takes_trunk: ClassVar[bool] = True
