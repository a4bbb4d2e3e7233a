import pytest
import torch
from torch import fx
from torch._inductor import config

from hyperrl.compiled import inductor


def doubled(x):
    return (2 * x,)


@pytest.fixture
def attempts(monkeypatch):
    """Let the first attempts fail, and tell with which settings each was made."""
    seen = []

    def fail(times):
        def attempt(graph, arguments):
            seen.append((config.cpp_wrapper, config.cpp.vec_isa_ok))
            if len(seen) <= times:
                raise RuntimeError("no")
            return graph

        monkeypatch.setattr(inductor, "_compile", attempt)
        return seen

    return fail


def test_settings_hold_for_our_own_graphs_only(attempts):
    before = config.cpp_wrapper, config.cpp.vec_isa_ok
    seen = attempts(0)
    inductor.compile_graph(fx.symbolic_trace(doubled), [torch.ones(2)])
    assert seen == [(True, True)]
    assert (config.cpp_wrapper, config.cpp.vec_isa_ok) == before


def test_where_they_fail_torchs_own_are_tried(attempts):
    before = config.cpp_wrapper, config.cpp.vec_isa_ok
    seen = attempts(1)
    graph = inductor.compile_graph(fx.symbolic_trace(doubled), [torch.ones(2)])
    assert graph(torch.ones(2))[0].tolist() == [2, 2]
    assert seen == [(True, True), before]


def test_what_fails_twice_has_failed(attempts):
    attempts(2)
    with pytest.raises(RuntimeError, match="no"):
        inductor.compile_graph(fx.symbolic_trace(doubled), [torch.ones(2)])


@pytest.mark.slow
def test_a_graph_is_one_library(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))

    def two_kernels(x):
        y = torch.tanh(x).sum(0)
        return ((y @ x.t()).relu().sum(), (x @ x.t()).exp())

    x = torch.randn(8, 8)
    compiled = inductor.compile_graph(fx.symbolic_trace(two_kernels), [x])
    torch.testing.assert_close(tuple(compiled(x)), two_kernels(x))
    assert len(list(tmp_path.rglob("*main.so"))) == 1
