"""Budgets are those of the published table, and of what the C compiler makes of the exported code."""

import subprocess
import time

import numpy as np
import pytest

from hyperrl.errors import ConfigError, UnknownNameError
from hyperrl.exporters import budget_of
from hyperrl.exporters.c99 import C99Exporter
from hyperrl.exporters.c99.compiling import find_compiler
from hyperrl.exporters.microcontrollers import MICROCONTROLLERS, microcontroller
from hyperrl.testing.exporter import _case, hard_policies


@pytest.mark.parametrize(
    ("hidden", "parameters", "macs", "weight_bytes", "microseconds"),
    [
        ((4,), 96, 88, 0.4e3, (2, 5)),
        ((16,), 372, 352, 1.5e3, (8, 19)),
        ((32, 32), 1_796, 1_728, 7.0e3, (37, 94)),
        ((64, 64), 5_636, 5_504, 22e3, (118, 298)),
        ((256, 256, 256), 137_476, 136_704, 537 * 1024, (2_900, 7_400)),
    ],
)
def test_the_specs_table(hidden, parameters, macs, weight_bytes, microseconds):
    budget = budget_of((18, *hidden, 4))
    assert (budget.parameters, budget.macs) == (parameters, macs)
    assert budget.weight_bytes == pytest.approx(weight_bytes, rel=0.05)
    assert budget.flash_bytes > budget.weight_bytes
    assert budget.microseconds("STM32F405") == pytest.approx(microseconds, rel=0.1)


def test_cycles_are_those_of_the_published_times():
    assert microcontroller("stm32f405").cycles_per_mac == pytest.approx((3.6, 9.1), abs=0.05)
    for chip in MICROCONTROLLERS.values():
        low, high = chip.cycles_per_mac
        assert chip.microseconds(13_696) == pytest.approx(chip.published_us)
        assert 1 < low <= high


def test_unknown_names_and_sizes_are_refused():
    with pytest.raises(UnknownNameError, match="did you mean 'STM32F405'"):
        budget_of((3, 4, 1)).microseconds("STM32F4")
    for sizes in ((3,), (3, 0, 1), (3, 2.5, 1)):
        with pytest.raises(ConfigError):
            budget_of(sizes)
    with pytest.raises(ConfigError, match="32 or 8"):
        budget_of((3, 4, 1), 16)


def test_thousands_are_cheap():
    from hyperrl.nets.architectures.space import ArchitectureSpace

    space = ArchitectureSpace.paper(17, 6)
    began = time.process_time()
    budgets = [budget_of((17, *one, 6)) for one in space.architectures]
    assert len(budgets) == 2_800
    assert [one.parameters for one in budgets] == [space.count_parameters(one) for one in space.architectures]
    assert time.process_time() - began < 10  # generous: it takes a twentieth of a second


@pytest.mark.parametrize("weights", ["float32", "int8"])
@pytest.mark.parametrize("name", ["wide and deep", "normaliser with an active clip", "no hidden layer"])
def test_bytes_are_those_of_the_object_file(name, weights, tmp_path):
    import dataclasses

    artefact = dataclasses.replace(_case(hard_policies()[name], 0).artefact, weights=weights)
    C99Exporter().export(artefact, tmp_path)
    target = tmp_path / "policy.o"
    subprocess.run(
        [*find_compiler(), "-std=c99", "-Os", "-c", tmp_path / "policy.c", "-o", target], check=True
    )
    lines = subprocess.run(["size", "-A", target], check=True, capture_output=True, text=True).stdout.split(
        "\n"
    )
    sections = {
        words[0]: int(words[1]) for words in map(str.split, lines) if len(words) == 3 and words[1].isdigit()
    }
    constants = sum(size for section, size in sections.items() if section.startswith(".rodata"))
    budget = artefact.budget
    expected = budget.weight_bytes + budget.normaliser_bytes
    # The bounds of actions and single constants come on top; the linker aligns.
    assert expected <= constants <= expected + 8 * artefact.policy.sizes[-1] + 256
    assert sections[".text"] < 1_500
    assert budget.ram_bytes <= sections.get(".bss", 0) + sections.get(".data", 0) <= budget.ram_bytes + 96
    assert np.isfinite(budget.microseconds("ESP32")).all()
