"""The benchmark of architectures compares equal work, and judges it against its floors."""

import csv

import pytest
import torch

from hyperrl.bench import architectures
from hyperrl.bench.naive_generator import NaiveNetwork, plain_network
from hyperrl.cli import main


def test_everything_that_is_to_be_fast_has_a_floor():
    builders = architectures.comparisons()
    names = [builder.func.__name__ for builder in builders]
    assert names.count("generate") == 4
    assert {"minibatch", "act", "cost", "apply"} <= set(names)
    floors = architectures.act(64, 0).floors
    assert floors == {"packed": 9.0}
    assert architectures.act(2, 0).floors == {}


def test_acting_is_the_same_work():
    variants = architectures.apply("cpu", 3, 2, False, 0).variants
    results = [variant() for variant in variants.values()]
    assert all(torch.allclose(results[0], one, atol=1e-5) for one in results)


def test_a_plain_network_is_a_generated_one():
    network = plain_network((3, 5, 4, 2))
    layers = [(network[i].weight, network[i].bias) for i in (0, 2, 4)]
    x = torch.randn(6, 3)
    assert torch.equal(NaiveNetwork(layers)(x), network(x))


def test_rows_are_relative_to_the_first_variant(monkeypatch):
    monkeypatch.setattr(architectures, "_BLOCK_SECONDS", 0.0)
    variants = {"slow": lambda: sum(range(100_000)), "fast": lambda: sum(range(100))}
    comparison = architectures.Comparison("sum", "cpu", 1, 0, variants, {"fast": 5.0})
    first, second = architectures.measure(comparison, rounds=3)
    assert (first["speedup"], first["met"]) == (1.0, None)
    assert second["speedup_min"] <= second["speedup"] <= second["speedup_max"]
    assert second["met"] == (second["speedup"] >= 5.0)


@pytest.mark.slow
def test_results_are_published(tmp_path):
    assert main(["bench", "architectures", "--quick", "--out", str(tmp_path)]) == 0
    with (tmp_path / "architectures.csv").open() as file:
        rows = list(csv.DictReader(file))
    works = {row["work"] for row in rows}
    assert {"generate, forward+backward", "training minibatch", "act", "apply, forward"} <= works
    assert all(row["met"] == "" for row in rows)
