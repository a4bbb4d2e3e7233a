"""The fused target update against its definition."""

from __future__ import annotations

import torch as th
from stable_baselines3.common.utils import polyak_update as reference

from hyperrl.sb3.polyak import polyak_update


def test_it_equals_the_loop_of_stable_baselines3():
    online = [th.randn(3, 2), th.randn(())]
    ours, theirs = [th.randn(3, 2), th.randn(())], None
    theirs = [value.clone() for value in ours]
    for _ in range(10):
        polyak_update(online, ours, 0.3)
        reference(online, theirs, 0.3)
    for one, other in zip(ours, theirs, strict=True):
        th.testing.assert_close(one, other)


def test_a_weight_of_one_copies_bit_by_bit():
    online, target = [th.randn(5)], [th.randn(5)]
    polyak_update(online, target, 1.0)
    assert th.equal(online[0], target[0])


def test_gradients_do_not_follow():
    online, target = th.nn.Parameter(th.ones(2)), th.nn.Parameter(th.zeros(2))
    polyak_update([online], [target], 0.5)
    assert target.grad_fn is None
    assert th.equal(target.detach(), th.full((2,), 0.5))


def test_nothing_to_move_is_nothing_done():
    online: list[th.Tensor] = []
    polyak_update(online, [], 0.5)
    assert online == []
