"""Policies of the quadrotor as out-of-tree controllers of the Crazyflie's firmware.

- `training`: what the policy was trained for, as the firmware has to know it,
- `firmware/`: the controller's source and the files of its build, with places for names and numbers,
- `stand_ins/`: headers and a host that stand for the firmware on a computer,
- `exporter`: writes them beside the policy in C99,
- `controller`: the controller, compiled and called on a computer.
"""

from hyperrl.exporters.crazyflie.controller import CompiledController, Mode, Reason, Setpoint, VehicleState
from hyperrl.exporters.crazyflie.exporter import CrazyflieExporter

__all__ = ["CompiledController", "CrazyflieExporter", "Mode", "Reason", "Setpoint", "VehicleState"]
