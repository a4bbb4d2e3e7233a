import os
import signal
import threading

import pytest

from hyperrl.run.signals import EXIT_STATUS, REQUEUE, StopSignals


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGUSR1", REQUEUE)])
def test_the_first_signal_is_remembered_with_its_exit_status(name, status, capfd):
    with StopSignals() as signals:
        assert signals.received is None
        os.kill(os.getpid(), signal.Signals[name])
        assert signals.received == name
        error = signals.error(1234, 1234, None)
    assert error.exit_status == status
    assert str(error) == f"stopped by {name} after 1,234 steps, with a checkpoint"
    assert f"hyperrl: {name}: saving a checkpoint, then stopping" in capfd.readouterr().err


def test_a_second_interrupt_stops_at_once(capfd):
    with StopSignals() as signals:
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        assert signals.received == "SIGINT"


def test_a_second_signal_of_another_kind_changes_nothing(capfd):
    with StopSignals() as signals:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.received == "SIGTERM"


def test_the_handlers_that_were_there_come_back():
    def own(number, frame):
        raise AssertionError

    numbers = [signal.Signals[name] for name in EXIT_STATUS]
    before = [signal.signal(number, own) for number in numbers]
    try:
        with StopSignals():
            assert all(signal.getsignal(number) != own for number in numbers)
        assert all(signal.getsignal(number) is own for number in numbers)
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def test_another_thread_installs_nothing():
    before = signal.getsignal(signal.SIGTERM)
    during = []

    def look():
        with StopSignals() as signals:
            during.append((signal.getsignal(signal.SIGTERM), signals.received))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert during == [(before, None)]


@pytest.mark.parametrize(
    ("saved", "text"), [(140, "the last one is that of 140 steps"), (-1, "there is none")]
)
def test_a_checkpoint_that_could_not_be_written_is_not_claimed(saved, text):
    error = StopSignals().error(246, saved, "No space left on device")
    assert str(error).endswith(f"246 steps, without a checkpoint (No space left on device): {text}")


def test_a_reader_that_is_gone_does_not_end_the_run(monkeypatch):
    def broken(*_):
        raise BrokenPipeError

    monkeypatch.setattr("hyperrl.run.signals.os.write", broken)
    with StopSignals() as signals:
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.received == "SIGTERM"
