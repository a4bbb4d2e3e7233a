"""An engine of sweeps without the seconds that a process takes to start."""

from __future__ import annotations

from hyperrl.sweep.engine import Ended
from hyperrl.train import train


class InProcess:
    """Does runs one after the other in this process; those in `failing` end as if they had crashed."""

    def __init__(self, failing=()):
        self.failing, self.done, self.started = failing, [], []

    def check_folder(self, path):
        pass

    def has_room(self):
        return not self.done

    def start(self, name, config):
        self.started.append(name)
        if name in self.failing:
            self.done.append(Ended(name, 2, "it was to fail"))
            return
        train(config)
        self.done.append(Ended(name, 0))

    def ended(self):
        done, self.done = self.done, []
        return done

    def running(self):
        return len(self.done)

    def stop(self):
        pass

    def close(self):
        pass
