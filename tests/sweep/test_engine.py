import pytest

from hyperrl.errors import ConfigError
from hyperrl.run.manifest import available_cores
from hyperrl.sweep.engine import LocalEngine


@pytest.mark.parametrize("workers", [0, -1, 1.5, "2", True, 5000])
def test_a_number_of_workers_that_is_none_is_refused(workers):
    with pytest.raises(ConfigError, match="workers must be a whole number from 1 to 4096"):
        LocalEngine(workers)


def test_more_workers_than_cores_are_allowed_with_a_warning():
    cores = available_cores()
    with pytest.warns(UserWarning, match=f"{cores + 1} runs side by side on {cores} cores"):
        engine = LocalEngine(cores + 1)
    assert engine.has_room()


def test_without_a_number_there_are_as_many_as_cores(recwarn):
    engine = LocalEngine()
    assert engine.has_room()
    assert engine.running() == 0
    assert engine.ended() == []
    assert not recwarn
