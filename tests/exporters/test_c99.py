"""The exported C: strict C99 and C++, no malloc, defined for NaN, int8 as computed in NumPy."""

import dataclasses
import re
import shutil
import subprocess

import numpy as np
import pytest

from hyperrl.errors import ArtefactError, ConfigError, ExportError, MissingExtraError, ShapeError
from hyperrl.exporters.c99 import C99Exporter, CompiledPolicy
from hyperrl.exporters.c99.compiling import FLAGS, find_compiler
from hyperrl.exporters.c99.numbers import check_prefix, comment_text, literal
from hyperrl.exporters.c99.quantise import act_int8, quantise
from hyperrl.exporters.interface import interface_of
from hyperrl.plain_policy import PlainPolicy, bounded
from hyperrl.testing.exporter import _case, hard_policies

POLICIES = hard_policies()
STRICT = ["-O2", "-Wall", "-Wextra", "-Werror", "-pedantic", "-ffp-contract=off"]
# What firmware is often compiled with besides.
STRICT += ["-Wconversion", "-Wdouble-promotion", "-Wshadow", "-Wundef"]


def export(name, folder, **changes):
    artefact = dataclasses.replace(_case(POLICIES[name], 0).artefact, **changes)
    C99Exporter().export(artefact, folder)
    return artefact


def run(command, **more):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True, **more)


C, CPP = ["gcc", "-std=c99"], ["g++", "-x", "c++", "-std=c++11"]


@pytest.mark.parametrize(
    ("compiler", "weights"),
    [
        (C, "float32"),
        (CPP, "int8"),
        pytest.param(C, "int8", marks=pytest.mark.slow),
        pytest.param(CPP, "float32", marks=pytest.mark.slow),
    ],
)
def test_strict_c_and_cpp_run_the_self_test(compiler, weights, tmp_path):
    if shutil.which(compiler[0]) is None:
        pytest.skip(f"no {compiler[0]}")
    for index, name in enumerate(("normaliser with an active clip", "activation mish", "no hidden layer")):
        folder = tmp_path / str(index)
        folder.mkdir()
        export(name, folder, weights=weights)
        sources = [folder / f"policy{part}.c" for part in ("", "_self_test", "_test")]
        run([*compiler, *STRICT, *sources, "-o", folder / "test", "-lm"])
        assert run([folder / "test"]).stdout.startswith("passed: largest error")


def test_flags_are_the_promised_ones():
    assert {"-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-ffp-contract=off"} <= set(FLAGS)


def test_cpp_includes_the_header_and_two_policies_share_a_program(tmp_path):
    for prefix, name in (("hover", "wide and deep"), ("land", "one neuron")):
        export(name, tmp_path, prefix=prefix)
        run([*find_compiler(), "-std=c99", "-c", tmp_path / f"{prefix}.c", "-o", tmp_path / f"{prefix}.o"])
    (tmp_path / "main.cpp").write_text(
        '#include "hover.h"\n#include "land.h"\n'
        "int main() { float o[HOVER_OBSERVATIONS] = {0}, a[HOVER_ACTIONS], b[LAND_ACTIONS];\n"
        "hover_act(o, a); land_act(o, b); return LAND_CONTROL_PERIOD_US == 10000 && a[0] == a[0] ? 0 : 1; }\n"
    )
    objects = [tmp_path / "hover.o", tmp_path / "land.o"]
    run(["g++", *STRICT, tmp_path / "main.cpp", *objects, "-o", tmp_path / "main", "-lm"])
    assert run([tmp_path / "main"]).returncode == 0


def test_no_heap_and_nothing_but_mathematics_is_called(tmp_path):
    export("activation gelu", tmp_path)
    run([*find_compiler(), "-std=c99", "-O2", "-c", tmp_path / "policy.c", "-o", tmp_path / "policy.o"])
    wanted = run(["nm", "-u", tmp_path / "policy.o"]).stdout.split()[1::2]
    assert set(wanted) <= {"erff", "tanhf", "memcpy", "_GLOBAL_OFFSET_TABLE_", "__stack_chk_fail"}
    assert "double" not in (tmp_path / "policy.c").read_text()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("fast", [False, True])
def test_an_observation_that_is_not_finite_gives_nan_in_every_action(bad, fast, tmp_path, monkeypatch):
    if fast:  # which lets compilers assume that there is no NaN
        monkeypatch.setenv("CC", f"{find_compiler()[0]} -ffast-math")
    artefact = export("normaliser with an active clip", tmp_path)
    policy = CompiledPolicy(tmp_path)
    observation = artefact.vectors.observations[-1].copy()
    assert np.isfinite(policy(observation)).all()
    observation[2] = bad
    assert np.isnan(policy(observation)).all()
    # Libraries made for fast mathematics make these zero in whatever loads them.
    assert np.float64(5e-324) * np.float64(1) > 0


def test_a_number_that_overflows_within_is_not_hidden_by_a_rectifier_or_a_clip(tmp_path):
    policy = PlainPolicy.from_arrays(
        [[[1e30, -1e30]], [[1.0]]], [[0.0], [0.0]], activation="relu", head=bounded([-1], [1])
    )
    artefact = dataclasses.replace(_case(POLICIES["activation elu"], 0).artefact, policy=policy)
    few = dataclasses.replace(artefact.vectors, observations=np.zeros((1, 2)), actions64=np.zeros((1, 1)))
    close = dataclasses.replace(artefact.close, half_range=np.ones(1), bounded=np.ones(1, bool))
    interface = interface_of(None, 2, 1)
    C99Exporter().export(
        dataclasses.replace(artefact, vectors=few, close=close, interface=interface), tmp_path
    )
    compiled = CompiledPolicy(tmp_path)
    assert compiled(np.zeros(2)) == 0
    assert np.isnan(compiled(np.full(2, 1e20)))  # infinity minus infinity


def test_the_self_test_fails_where_a_weight_is_another(tmp_path):
    export("squashed actions, asymmetric bounds", tmp_path)
    assert CompiledPolicy(tmp_path).self_test() == (True, pytest.approx(0, abs=1e-5))
    text = (tmp_path / "policy.c").read_text()
    weight = re.search(r"policy_bias_1\[16\] = \{\s+([-\d.e+]+)f", text).group(1)
    (tmp_path / "policy.c").write_text(text.replace(f"{weight}f", f"{float(weight) + 0.01:.7e}f", 1))
    passed, largest = CompiledPolicy(tmp_path).self_test()
    assert not passed
    assert largest > 1e-4


def test_a_shorter_self_test_has_fewer_vectors(tmp_path, monkeypatch):
    export("wide and deep", tmp_path)
    sizes = []
    for flags in ([], ["-DPOLICY_SELF_TEST_VECTORS=5"]):
        run([*find_compiler(), *FLAGS, *flags, "-c", tmp_path / "policy_self_test.c", "-o", tmp_path / "t.o"])
        sizes.append((tmp_path / "t.o").stat().st_size)
    assert sizes[1] < sizes[0] - 5_000
    monkeypatch.setenv("CC", f"{find_compiler()[0]} -DPOLICY_SELF_TEST_VECTORS=5")
    assert CompiledPolicy(tmp_path).self_test()[0]


@pytest.mark.parametrize("name", ["wide and deep", "normaliser with an active clip", "activation elu"])
def test_int8_is_what_numpy_computes_with_whole_numbers(name, tmp_path):
    artefact = export(name, tmp_path, weights="int8")
    layers = quantise(artefact.policy, artefact.calibration)
    expected = act_int8(artefact.policy, layers, artefact.vectors.observations)
    errors = artefact.close.errors(CompiledPolicy(tmp_path)(artefact.vectors.observations), expected)
    # A value between two steps may take either one, where tanh or a product is rounded in another way.
    assert np.median(errors) < 1e-6
    assert (errors < 1e-5).mean() > 0.97
    assert errors.max() < 0.02


def test_int8_scales_each_row_and_clips_nothing_of_the_rollout():
    policy = POLICIES["wide and deep"]
    rollout = np.random.default_rng(0).normal(size=(200, 18))
    layers = quantise(policy, rollout)
    assert len(layers) == len(policy.layers) - 1
    hidden = policy.layers[0](rollout)
    largest = [np.abs(rollout).max(), hidden.max()]
    np.testing.assert_allclose(
        [one.inverse_input_scale for one in layers[:2]], 127 / np.array(largest), rtol=1e-6
    )
    for layer, original in zip(layers, policy.layers, strict=False):
        assert np.abs(layer.weight).max(axis=1).tolist() == [127] * original.outputs
        step = layer.scale * float(layer.inverse_input_scale)
        np.testing.assert_allclose(
            layer.weight * step[:, None], original.weight, atol=np.abs(original.weight).max() / 250
        )
    truth = policy(rollout, np.float64)
    error = np.sqrt(np.mean((act_int8(policy, layers, rollout) - truth) ** 2)) / truth.std()
    assert 1e-5 < error < 0.08


def test_names_of_environments_cannot_break_out_of_a_comment(tmp_path):
    artefact = _case(POLICIES["one neuron"], 0).artefact
    interface = dataclasses.replace(
        artefact.interface,
        observation_names=("*/ int main(void){}; /*\n#error no\\",),
        conventions={"a\n#error": "??/"},
    )
    C99Exporter().export(dataclasses.replace(artefact, interface=interface), tmp_path)
    CompiledPolicy(tmp_path)
    assert comment_text("a */ b\nc /* θ") == "a * / b c / * ?"


def test_literals_are_exact():
    draw = np.random.default_rng(0)
    numbers = np.concatenate([draw.normal(size=500), 10.0 ** draw.uniform(-44, 38, 500), [0, -0.0]]).astype(
        np.float32
    )
    for number in numbers:
        assert np.float32(literal(number).removesuffix("f")) == number


@pytest.mark.parametrize("prefix", ["", "1st", "my-policy", "float", "a b", "class", "x" * 40, "é"])
def test_prefixes_that_c_would_refuse(prefix):
    with pytest.raises(ConfigError, match="a prefix must be a letter"):
        check_prefix(prefix)


def test_a_missing_compiler_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("CC", "no-such-cc -O3")
    with pytest.raises(MissingExtraError, match="'no-such-cc' of the variable CC is not installed"):
        C99Exporter().check()
    monkeypatch.delenv("CC")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingExtraError, match=r"a C compiler is not installed.*install gcc or clang"):
        C99Exporter().check()


def test_a_compiler_that_is_no_command_is_named(monkeypatch):
    monkeypatch.setenv("CC", '"gcc')
    with pytest.raises(ConfigError, match="the variable CC must be the command of a C compiler"):
        find_compiler()


@pytest.mark.parametrize("count", [0, 1000])
def test_a_self_test_of_nothing_does_not_compile(count, tmp_path, monkeypatch):
    export("one neuron", tmp_path)
    monkeypatch.setenv("CC", f"{find_compiler()[0]} -DPOLICY_SELF_TEST_VECTORS={count}")
    with pytest.raises(ExportError, match="a test of nothing would pass"):
        CompiledPolicy(tmp_path)


def test_refusals(tmp_path):
    with pytest.raises(ArtefactError, match=r"there is no policy\.c"):
        CompiledPolicy(tmp_path)
    with pytest.raises(ExportError, match="observations of a rollout"):
        export("one neuron", tmp_path, weights="int8", calibration=None)
    export("wide and deep", tmp_path)
    with pytest.raises(ShapeError, match=r"\[\.\.\., 18\]"):
        CompiledPolicy(tmp_path)(np.zeros(17))
    (tmp_path / "policy.c").write_text("int main(void) { return x; }\n")
    with pytest.raises(ExportError, match=r"does not compile: .*error") as caught:
        CompiledPolicy(tmp_path)
    assert "\n" not in str(caught.value)


def test_it_acts_as_a_predictor(tmp_path):
    artefact = export("one neuron", tmp_path)
    policy = CompiledPolicy(tmp_path)
    action, state = policy.predict(np.zeros(1), 3, None, True)
    np.testing.assert_allclose(action, artefact.policy(np.zeros(1)), atol=1e-6)
    assert state == 3
    assert policy(np.zeros((2, 5, 1))).shape == (2, 5, 1)
