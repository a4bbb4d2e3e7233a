"""HyperPPO on the quadrotor: the best policy of at most 500 parameters, flown through its compiled C."""

import argparse

from hyperrl import export, train
from hyperrl.architectures import architectures
from hyperrl.evaluation.choice import Limits
from hyperrl.fly import fly
from hyperrl.presets import resolve

ROLLOUT = 64 * 128  # Steps of one rollout of the preset.


def main(steps: int) -> None:
    trial = steps < ROLLOUT
    shorter = ["n_steps=8", "batch_size=512", "n_epochs=1"] if trial else []
    config = resolve("hyper-ppo", {"preset": "quadrotor", "steps": steps}, settings=shorter).config
    run = train(config).folder.path
    rounds = {"screening": 0, "episodes": 2} if trial else {}
    chosen = architectures(run, Limits(max_params=500), **rounds).chosen
    (policy,) = export(run, "crazyflie", architecture=chosen.architecture)
    budget = policy.manifest["budget"]
    print(f"{policy.folder}: {list(chosen.architecture)}, return {chosen.returns.estimate:.0f}")
    print(f"{budget['parameters']} parameters, {budget['macs']} multiply-accumulates")
    print(f"{budget['flash_bytes']} bytes of flash, {budget['ram_bytes']} bytes of RAM")
    low, high = budget["microseconds_estimate"]["STM32F405"]
    print(f"about {low:.0f} to {high:.0f} microseconds for one action on a Crazyflie's STM32F405")
    for task in ("hover", "trajectory"):
        flown = fly(policy.folder, task=task, flights=1 if trial else 10, plot=run / f"{task}.png")
        ends = [f"{flight.errors[-1]:.3f} m" if flight.completed else "lost" for flight in flown.flights]
        print(f"{task}, distance from the setpoint at the end of each flight: {', '.join(ends)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=2_000_000)
    main(parser.parse_args().steps)
