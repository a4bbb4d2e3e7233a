import subprocess
import sys

import pytest
import torch
from torch import fx
from torch._inductor import config, cpu_vec_isa

from hyperrl.compiled import CompileWarning, inductor


def doubled(x):
    return (2 * x,)


@pytest.fixture
def attempts(monkeypatch):
    """Let the first attempts fail, and tell with which settings each was made."""
    seen = []

    def fail(times):
        def attempt(graph, arguments, part=""):
            seen.append((config.cpp_wrapper, config.cpp.vec_isa_ok, part))
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
    assert seen == [(True, True, "")]
    assert (config.cpp_wrapper, config.cpp.vec_isa_ok) == before


def test_after_a_failure_another_folder_is_tried_without_a_word(attempts, recwarn):
    seen = attempts(1)
    inductor.compile_graph(fx.symbolic_trace(doubled), [torch.ones(2)])
    assert seen == [(True, True, ""), (True, True, "again")]
    assert not [one for one in recwarn if one.category is CompileWarning]


def test_then_torchs_own_settings_are_tried(attempts):
    before = config.cpp_wrapper, config.cpp.vec_isa_ok, ""
    seen = attempts(2)
    with pytest.warns(CompileWarning, match="torch's own settings have to be used: RuntimeError: no"):
        graph = inductor.compile_graph(fx.symbolic_trace(doubled), [torch.ones(2)])
    assert graph(torch.ones(2))[0].tolist() == [2, 2]
    assert seen == [(True, True, ""), (True, True, "again"), before]


def test_what_fails_three_times_has_failed(attempts):
    attempts(3)
    with pytest.raises(RuntimeError, match="no"), pytest.warns(CompileWarning):
        inductor.compile_graph(fx.symbolic_trace(doubled), [torch.ones(2)])


def test_instruction_sets_that_were_taken_for_tried_out_are_forgotten():
    sets = cpu_vec_isa.supported_vec_isa_list
    with config.patch({"cpp.vec_isa_ok": True}):
        assert [bool(isa) for isa in sets]
    inductor._forget_instruction_sets(cpu_vec_isa)
    for isa in sets:
        if hasattr(type(isa).__bool__, "cache_info"):
            assert type(isa).__bool__.cache_info().currsize == 0


@pytest.mark.slow
def test_half_a_library_is_made_good(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    script = (
        "import torch; from hyperrl.compiled import CompiledFunction;"
        "f = CompiledFunction(lambda s, x: {'y': (s * x).tanh()}, 'f', strict=True); f.bind(torch.ones(9));"
        "print(f(torch.zeros(9))['y'].sum().item())"
    )
    for damaged in (False, True):
        if damaged:
            for library in tmp_path.rglob("*.so"):
                library.write_bytes(library.read_bytes()[: library.stat().st_size // 2])
            assert list(tmp_path.rglob("*.so"))
        done = subprocess.run(
            [sys.executable, "-W", "error::UserWarning", "-c", script],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        assert done.stdout.strip() == "0.0"


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
