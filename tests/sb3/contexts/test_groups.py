"""Rows with the same context are found, and come back where they were."""

from __future__ import annotations

import numpy as np
import pytest
import torch as th

from hyperrl.sb3.contexts.groups import Grouping, Groups, numbered


def rows(count, distinct, size=2, seed=0):
    generator = np.random.default_rng(seed)
    table = generator.normal(size=(distinct, size)).astype(np.float32)
    return th.from_numpy(table[generator.integers(distinct, size=count)])


@pytest.mark.parametrize(("count", "distinct"), [(1, 1), (7, 1), (7, 3), (64, 64), (50, 200), (64, 5)])
def test_every_row_gets_what_belongs_to_its_context(count, distinct):
    contexts = rows(count, distinct)
    groups = Grouping().of(contexts)
    assert len(groups.contexts) == len({tuple(row) for row in contexts.tolist()})
    assert th.equal(groups.spread(groups.contexts).expand(count, -1), contexts)
    x = th.arange(3.0 * count).view(count, 3)
    padded = groups.pad(x)
    assert len(padded) == len(groups.contexts)
    assert th.equal(groups.unpad(padded), x)
    # Each group has its context's rows and no others.
    shifted = groups.unpad(padded + groups.contexts[:, None, :1])
    assert th.equal(shifted, x + contexts[:, :1])


def test_rows_of_padding_get_no_gradient():
    contexts = rows(20, 4)
    groups = Grouping().of(contexts)
    assert groups.gather is not None
    assert groups.gather.numel() > 20
    x = th.randn(20, 3, requires_grad=True)
    groups.unpad(groups.pad(x).square()).sum().backward()
    assert th.allclose(x.grad, 2 * x.detach())


def test_a_batch_like_the_last_one_has_the_very_same_groups():
    grouping, contexts = Grouping(), rows(9, 3)
    first = grouping.of(contexts)
    assert grouping.of(contexts.clone()) is first
    changed = contexts.clone()
    changed[4] += 1
    assert grouping.of(changed) is not first
    # What the caller writes into its own tensor is seen.
    same = grouping.of(changed)
    changed[5] += 1
    assert grouping.of(changed) is not same


def test_contexts_without_numbers_are_one_constant():
    groups = Grouping().of(th.zeros(5, 0))
    assert groups.contexts.tolist() == [[1.0]]
    assert groups.rows == 5


def test_known_groups_are_taken_without_looking():
    grouping = Grouping()
    contexts = rows(4, 4).repeat_interleave(6, 0)
    with grouping.regular(6):
        groups = grouping.of(contexts)
        assert th.equal(groups.contexts, contexts[::6])
        assert groups.each == 6
        assert th.equal(groups.spread(groups.contexts), contexts)
        # A batch of another size has no such groups.
        assert grouping.of(contexts[:5]).each != 6
    assert grouping.of(contexts).ids is not None


def test_numbers_of_contexts():
    contexts = rows(30, 4).numpy()
    table, ids = numbered(contexts)
    assert np.array_equal(table[ids], contexts)
    subset = Groups.of_ids(th.from_numpy(table), ids[:3])
    assert th.equal(subset.spread(subset.contexts).expand(3, -1), th.from_numpy(contexts[:3]))
