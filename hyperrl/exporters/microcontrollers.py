"""Microcontrollers by name, and how long a multiply-accumulate of a small network takes them.

Cycles are derived from times that the RLtools project publishes for its quadrotor policy: the fastest and the
slowest of a generic build, the vendor's DSP library and an optimised one, taken as 146-64-64-4, which is
13,696 multiply-accumulates. The input size is our reading of "Learning to Fly in Seconds" (Eschmann et al.,
2024): if a smaller network was timed, the cycles are too few in proportion. Its activations are within.
"""

from __future__ import annotations

from dataclasses import dataclass

from hyperrl.errors import unknown_name

_PUBLISHED_MACS = 146 * 64 + 64 * 64 + 64 * 4


@dataclass(frozen=True)
class Microcontroller:
    """A processor and what it was measured to need.

    Attributes:
        name: Its name.
        board: Where it is found.
        megahertz: Its clock.
        published_us: The fastest and the slowest published time of the network above, in microseconds.
        flash_bytes: Flash memory for programs, shared with the firmware.
        ram_bytes: RAM, shared with the firmware.
    """

    name: str
    board: str
    megahertz: float
    published_us: tuple[float, float]
    flash_bytes: int
    ram_bytes: int

    @property
    def cycles_per_mac(self) -> tuple[float, float]:
        """The fewest and the most cycles per multiply-accumulate."""
        low, high = self.published_us
        return low * self.megahertz / _PUBLISHED_MACS, high * self.megahertz / _PUBLISHED_MACS

    def microseconds(self, macs: float) -> tuple[float, float]:
        """Estimate the time of so many multiply-accumulates: the shortest and the longest, in microseconds.

        Args:
            macs: How many.
        """
        low, high = self.cycles_per_mac
        return macs * low / self.megahertz, macs * high / self.megahertz


MICROCONTROLLERS: dict[str, Microcontroller] = {
    chip.name: chip
    for chip in (
        Microcontroller("STM32F405", "Crazyflie 2.1", 168, (293, 743), 1 << 20, 192 << 10),
        Microcontroller("STM32H743", "Pixhawk 6C", 480, (53, 133), 2 << 20, 1 << 20),
        Microcontroller("Teensy4.1", "Teensy 4.1, i.MX RT1062", 600, (41, 64), 8 << 20, 1 << 20),
        Microcontroller("ESP32", "ESP32 boards", 240, (279, 4282), 4 << 20, 520 << 10),
        Microcontroller(
            "ESP32-C3", "ESP32-C3 boards, no floating-point unit", 160, (6645, 8716), 4 << 20, 400 << 10
        ),
    )
}
"""By name."""


def microcontroller(name: str) -> Microcontroller:
    """Return a microcontroller by its name, in upper or lower case.

    Args:
        name: A name in `MICROCONTROLLERS`.

    Raises:
        UnknownNameError: There is none; the sentence has the nearest name.
    """
    for known, chip in MICROCONTROLLERS.items():
        if known.lower() == name.lower():
            return chip
    raise unknown_name("microcontroller", name, MICROCONTROLLERS)
