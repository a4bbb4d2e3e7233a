import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from hyperrl.compiled import Buffers, CompiledFunction, CompileWarning, NotCompiledError
from hyperrl.nets import dense

FACTOR = np.float64(3.0)


def accumulate(state, inputs):
    # A NumPy scalar from outside, of the kind that other ways of compiling stumble over.
    product = inputs["x"] * FACTOR
    state["sum"].add_(product.sum(0))
    return {"mean": product.mean(), "count": (inputs["x"] > 0).sum()}


def run(function, rows, columns=4):
    torch.manual_seed(0)
    x = torch.randn(rows, columns)
    return function({"x": x}), x


@pytest.fixture(params=[pytest.param("compiled", marks=pytest.mark.slow), "as traced"])
def backend(request, monkeypatch):
    """To compile a graph takes seconds: what is about the choice of graphs runs them as they were traced."""
    if request.param == "as traced":
        monkeypatch.setattr("hyperrl.compiled.graph.compile_graph", lambda graph, arguments: graph)


@pytest.fixture(scope="module")
def compiled():
    return CompiledFunction(accumulate, "a sum")


def test_it_computes_what_the_function_computes_and_changes_its_state(compiled):
    state = {"sum": torch.ones(4)}
    compiled.bind(state)
    outputs, x = run(compiled, 5)
    assert compiled.fallback is None
    torch.testing.assert_close(state["sum"], 1 + 3 * x.sum(0))
    torch.testing.assert_close(outputs["mean"], 3 * x.mean())
    assert outputs["count"] == (x > 0).sum()


def test_nothing_changes_before_the_first_call_has_been_compiled():
    state = {"sum": torch.zeros(4)}
    function = CompiledFunction(accumulate, "a sum")
    function.bind(state)
    _, x = run(function, 5)
    # Tracing and compiling must not have added the same rows a second time.
    torch.testing.assert_close(state["sum"], 3 * x.sum(0))


@pytest.mark.usefixtures("backend")
def test_other_shapes_layouts_and_states_are_taken():
    function = CompiledFunction(accumulate, "a sum")
    for rows, graphs in ((5, 1), (3, 2), (5, 2)):
        state = {"sum": torch.zeros(4)}
        function.bind(state)
        _, x = run(function, rows)
        torch.testing.assert_close(state["sum"], 3 * x.sum(0))
        assert len(function._graphs) == graphs
    state = {"sum": torch.zeros(4)}
    function.bind(state)
    wide = torch.randn(5, 8)
    function({"x": wide[:, 2:6]})
    torch.testing.assert_close(state["sum"], 3 * wide[:, 2:6].sum(0))
    assert len(function._graphs) == 3
    assert function.fallback is None


def test_without_compiling_the_function_itself_is_called():
    seen = []

    def function(state, inputs):
        seen.append(inputs)
        return {"value": inputs + state}

    plain = CompiledFunction(function, "a sum", compiled=False)
    plain.bind(torch.ones(2))
    torch.testing.assert_close(plain(torch.ones(2))["value"], torch.full((2,), 2.0))
    assert len(seen) == 1


def test_what_cannot_be_traced_warns_once_and_runs_as_it_is_written():
    def depends_on_data(state, inputs):
        return {"value": inputs + 1 if bool(inputs.sum() > 0) else state}

    function = CompiledFunction(depends_on_data, "the odd function")
    function.bind(torch.zeros(2))
    with pytest.warns(
        CompileWarning, match="the odd function could not be compiled and runs as it is written"
    ):
        first = function(torch.ones(2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        second = function(-torch.ones(2))
    torch.testing.assert_close(first["value"], torch.full((2,), 2.0))
    torch.testing.assert_close(second["value"], torch.zeros(2))


def test_a_strict_function_raises_before_anything_is_computed():
    def depends_on_data(state, inputs):
        state.add_(1)
        return {"value": inputs if bool(inputs.sum() > 0) else state}

    function = CompiledFunction(depends_on_data, "the odd function", strict=True)
    state = torch.zeros(2)
    function.bind(state)
    for _ in range(2):
        with pytest.raises(NotCompiledError):
            function(torch.ones(2))
    assert state.tolist() == [0, 0]


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("factor", torch.ones(2))

    def forward(self, x):
        return self.factor * x


@pytest.mark.usefixtures("backend")
def test_buffers_are_read_where_they_are():
    module = Scaled()
    buffers = Buffers([module, module])
    function = CompiledFunction(lambda state, inputs: {"y": state + module(inputs)}, "a product")
    state, x = torch.zeros(2), torch.tensor([1.0, 2.0])
    function.bind(state, buffers=buffers)
    assert function(x)["y"].tolist() == [1, 2]
    module.factor.fill_(3)
    assert function(x)["y"].tolist() == [3, 6]
    module.load_state_dict({"factor": torch.tensor([4.0, 5.0])})
    assert function(x)["y"].tolist() == [4, 10]
    module.factor = torch.tensor([6.0, 7.0])
    function.bind(state, buffers=buffers)
    assert function(x)["y"].tolist() == [6, 14]
    # Tracing has left the module as it was.
    assert module.factor.tolist() == [6, 7]
    assert len(function._graphs) == 1


SCRIPT = """
import torch, warnings
from hyperrl.compiled import CompiledFunction
def add(state, inputs):
    state.add_(inputs)
    return {"sum": state.sum()}
function = CompiledFunction(add, "the addition")
function.bind(torch.ones(2))
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    print(function(torch.ones(2))["sum"].item())
print(*[warning.message for warning in caught])
"""


def test_without_a_compiler_a_sentence_says_what_to_install(tmp_path):
    environment = {**os.environ, "CXX": str(tmp_path / "nothing"), "PATH": str(tmp_path), "CXXFLAGS": ""}
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, cwd=root, capture_output=True, text=True, check=True
    )
    value, message = done.stdout.splitlines()
    assert float(value) == 4
    assert message.endswith("there is no C++ compiler: install g++ or clang++, or set the variable CXX")


def test_products_that_are_large_enough_for_onednn_are_captured_all_the_same(monkeypatch):
    monkeypatch.setattr(dense, "prefers_onednn", lambda: True)
    monkeypatch.setattr(dense, "_LARGE", 1)
    function = CompiledFunction(lambda state, inputs: {"y": dense.matmul(inputs, state)}, "a product")
    state, inputs = torch.randn(4, 3), torch.randn(5, 4)
    function.bind(state)
    torch.testing.assert_close(function(inputs)["y"], inputs @ state)
    assert function.fallback is None
