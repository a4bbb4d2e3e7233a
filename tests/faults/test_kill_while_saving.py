"""SIGKILL at any moment of a save: the checkpoint before it, or the new one, is there and whole."""

import errno
import signal
from collections import Counter

import pytest

from tests.faults.crash import SITUATIONS, crashes

POINTS = 200


@pytest.mark.parametrize("points", [POINTS, pytest.param(2000, marks=pytest.mark.slow)])
@pytest.mark.timeout(1500)
def test_a_kill_from_outside_at_evenly_spaced_times(tmp_path, points):
    *kills, end = crashes("anywhere", tmp_path / "ckpt", points, timeout=1400)
    assert len(kills) == points
    assert {kill["status"] for kill in kills} == {-signal.SIGKILL}
    for kill in kills:
        assert kill["done"] <= kill["count"] <= kill["begun"], kill
    # Most were struck within a save, and some of those on either side of the moment when the new one counts.
    struck = [kill for kill in kills if kill["done"] < kill["begun"]]
    assert len(struck) > 0.9 * points
    # One more where the kill came between the last operation of a save and the note that it was done.
    assert {kill["count"] - kill["done"] for kill in struck} <= {0, 1}
    assert end["leftovers"] == []
    assert end["count"] == end["saved"]


@pytest.fixture(scope="module")
def aimed(tmp_path_factory):
    return crashes("operations", tmp_path_factory.mktemp("operations"))


def test_a_kill_before_every_single_operation(aimed):
    for kill in aimed:
        assert kill["status"] in (-signal.SIGKILL, 0), kill
        assert kill["count"] in (kill["old"], kill["new"]), kill
        assert kill["afterwards"] == 12, kill
        assert kill["leftovers"] == [], kill
    counts = Counter(kill["situation"] for kill in aimed if kill["status"] != 0)
    assert set(counts) == {*SITUATIONS}
    assert min(counts.values()) >= 25
    assert counts.total() >= 50


def test_the_new_checkpoint_counts_from_one_operation_on(aimed):
    for situation in SITUATIONS:
        counts = [kill["count"] for kill in aimed if kill["situation"] == situation]
        assert counts == sorted(counts)
        assert len(set(counts)) == 2


def test_files_that_may_not_grow_are_an_error_and_the_checkpoint_before_stays(tmp_path):
    # Of the segment, the weights, the state and the smallest file.
    sizes = [0, 1, 100, 500, 800, 1000, 4096, 40_000, 79_000, 80_000]
    reports = crashes("limits", tmp_path, *sizes)
    assert [report["size"] for report in reports] == sizes
    for report in reports:
        assert report["status"] == errno.EFBIG
        assert report["count"] == 0
        assert report["afterwards"] == 12
        assert report["leftovers"] == []


def test_a_limit_that_is_wide_enough_changes_nothing(tmp_path):
    (report,) = crashes("limits", tmp_path, 200_000)
    assert report["status"] == 0
    assert report["count"] == 1
