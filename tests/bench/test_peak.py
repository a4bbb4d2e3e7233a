import csv

import torch
from torch import nn

from hyperrl.bench import peak
from hyperrl.cli import main
from hyperrl.nets.dense import _onednn


def test_products_are_counted_whichever_library_makes_them():
    x, weight = torch.randn(8, 16, requires_grad=True), torch.randn(32, 16, requires_grad=True)
    products = 2 * 8 * 16 * 32
    assert peak.count(lambda: nn.functional.linear(x, weight)) == products
    # Forward, and the gradients of both.
    assert peak.count(lambda: nn.functional.linear(x, weight).sum().backward()) == 3 * products
    if torch.backends.mkldnn.is_available():
        assert peak.count(lambda: _onednn(x.detach(), weight.detach())) == products
        assert peak.count(lambda: _onednn(x, weight).sum().backward()) == 3 * products


def test_the_verb_writes_its_table(tmp_path, monkeypatch):
    monkeypatch.setattr(peak, "_SIZE", 64)
    monkeypatch.setattr(peak, "_BATCH", 2)
    assert main(["bench", "peak", "--quick", "--out", str(tmp_path)]) == 0
    with (tmp_path / "peak.csv").open(newline="") as file:
        product, paper = csv.DictReader(file)
    assert (float(product["of_peak"]), product["met"]) == (1.0, "")
    assert float(paper["gflop"]) > 0.01
    expected = float(paper["gflop_per_second"]) / float(product["gflop_per_second"])
    assert 0 < float(paper["of_peak"]) < 10 * expected


def test_the_share_is_that_of_speeds(monkeypatch):
    class Times:
        def seconds(self, name, clock):
            return peak_spread(0.5 if name == "one product of matrices" else 4.0)

        def ratio(self, one, other, clock):
            return peak_spread(self.seconds(one, clock).median / self.seconds(other, clock).median)

    def peak_spread(value):
        from hyperrl.bench.timing import Spread

        return Spread(value, value, value)

    class Model:
        def train(self, gradient_steps, batch_size):
            pass

    monkeypatch.setattr(peak, "interleave", lambda *args, **kwargs: Times())
    monkeypatch.setattr(peak, "hyper", lambda *args, **kwargs: lambda device, seed: Model())
    monkeypatch.setattr(peak, "count", lambda function: 12e9)
    product, paper, compiled = peak.measure(rounds=1)
    # Two steps in four seconds with six thousand million operations each.
    assert paper["gflop_per_second"] == 3.0
    assert paper["of_peak"] == compiled["of_peak"]
    assert abs(paper["of_peak"] - 3.0 / product["gflop_per_second"]) < 1e-9
    assert (compiled["floor"], compiled["met"]) == (0.65, compiled["of_peak"] >= 0.65)
