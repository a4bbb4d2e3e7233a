"""What is exported appears whole and proved, or not at all; later changes are found."""

import dataclasses
import json

import numpy as np
import pytest

from hyperrl import registry
from hyperrl.errors import (
    ArtefactError,
    ConfigError,
    ExportError,
    RunFolderError,
    ShapeError,
    UnknownNameError,
)
from hyperrl.exporters import Interface, Request, export_subject, plain_subject, verify
from hyperrl.exporters import building as building_module
from hyperrl.exporters.npz import NpzExporter
from hyperrl.plain_policy import ObservationNormaliser, PlainPolicy, bounded
from hyperrl.testing import hard_policies

ROLLOUT = np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32)


def make_policy(seed=0, clip=2.0):
    draw = np.random.default_rng(seed)
    normaliser = ObservationNormaliser(draw.normal(size=4) * 0.1, draw.uniform(0.5, 1.5, 4), clip=clip)
    return PlainPolicy.from_arrays(
        [draw.normal(size=(8, 4)), draw.normal(size=(8, 8)), draw.normal(size=(2, 8))],
        [draw.normal(size=8), draw.normal(size=8), draw.normal(size=2)],
        head=bounded([-1, 0], [1, 3], "tanh", "unscale"),
        normaliser=normaliser,
    )


def export(folder, policy=None, **more):
    subject = {
        key: more.pop(key) for key in list(more) if key in ("reference", "play", "provenance", "rollout")
    }
    rollout = subject.pop("rollout", ROLLOUT)
    [exported] = export_subject(
        plain_subject(policy or make_policy(), rollout, **subject),
        [Request(more.pop("format", "npz"), folder, **more)],
    )
    return exported


def nothing_in(folder):
    return not folder.exists() or not list(folder.iterdir())


class WrongExporter(NpzExporter):
    def export(self, artefact, folder):
        return super().export(dataclasses.replace(artefact, policy=make_policy(seed=1)), folder)


@pytest.fixture
def wrong(monkeypatch):
    fresh = registry.Registry("hyperrl.exporters", "exporter")
    fresh.register("wrong", WrongExporter)
    monkeypatch.setattr(building_module, "exporters", fresh)


def test_what_acts_otherwise_never_appears(wrong, tmp_path):
    with pytest.raises(
        ExportError, match="the exported wrong, compared with the same policy in float64, differs"
    ):
        export(tmp_path / "a" / "b", format="wrong")
    assert nothing_in(tmp_path)


def test_one_wrong_format_of_two_keeps_both_away(wrong, tmp_path):
    subject = plain_subject(make_policy(), ROLLOUT)
    with pytest.raises(ExportError, match="wrong"):
        export_subject(subject, [Request("npz", tmp_path / "right"), Request("wrong", tmp_path / "wrong")])
    assert nothing_in(tmp_path)


def test_the_trained_model_has_the_last_word(tmp_path):
    policy = make_policy()
    with pytest.raises(ExportError, match="compared with the trained model's own predict, differs by"):
        export(tmp_path / "x", policy, reference=lambda observations: policy(observations) * 1.001)
    assert nothing_in(tmp_path)
    assert export(tmp_path / "x", policy, reference=policy).manifest["parity"]["largest_errors"]


def test_a_taken_place_is_refused_and_an_artefact_replaced_only_when_asked(tmp_path):
    out = tmp_path / "out"
    first = export(out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(RunFolderError, match="is not empty"):
        export(out, make_policy(seed=2))
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    second = export(out, make_policy(seed=2), overwrite=True)
    assert second.manifest["policy"]["weights_sha256"] != first.manifest["policy"]["weights_sha256"]
    verify(out)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("name", ["thesis.tex", "manifest.json"])
@pytest.mark.parametrize("content", ["{}", '{"kind": "extension", "files": {"thesis.tex": 1}}'])
def test_nothing_but_an_artefact_is_overwritten(name, content, tmp_path):
    (tmp_path / name).write_text(content)
    with pytest.raises(RunFolderError, match="holds no artefact"):
        export(tmp_path, overwrite=True)
    assert (tmp_path / name).read_text() == content


def test_a_place_that_is_taken_in_the_meantime_is_not_replaced(tmp_path):
    out, policy = tmp_path / "out", make_policy()

    def slowly(observations):
        out.mkdir(exist_ok=True)
        (out / "thesis.tex").write_text("mine")
        return policy(observations)

    with pytest.raises(RunFolderError, match=f"^{out} is not empty"):
        export(out, policy, reference=slowly)
    assert [path.name for path in out.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("prefix", ["manifest", "budget", "test_vectors"])
def test_a_prefix_cannot_replace_what_every_artefact_has(prefix, tmp_path):
    with pytest.raises(ExportError, match=f"would write {prefix}.*choose another prefix"):
        export(tmp_path / "x", prefix=prefix)
    assert nothing_in(tmp_path)


def test_loading_leaves_no_bytecode_and_that_of_users_is_no_obstacle(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.dont_write_bytecode", False)
    out = tmp_path / "out"
    names = sorted(path.name for path in export(out).folder.iterdir())
    verify(out)
    assert sorted(path.name for path in out.iterdir()) == names
    assert "__pycache__" not in names
    (out / "__pycache__").mkdir()
    (out / "__pycache__" / "load_policy.pyc").write_bytes(b"stale")
    verify(export(out, make_policy(seed=2), overwrite=True).folder)
    assert sorted(path.name for path in out.iterdir()) == names


def test_files_of_others_in_an_artefact_are_kept(tmp_path):
    out = tmp_path / "out"
    export(out)
    (out / "notes.txt").write_text("mine")
    with pytest.raises(RunFolderError, match=r"also holds notes\.txt"):
        export(out, overwrite=True)
    assert (out / "notes.txt").read_text() == "mine"


def test_an_empty_folder_is_taken_a_file_is_not(tmp_path):
    (tmp_path / "empty").mkdir()
    export(tmp_path / "empty")
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="is not a folder"):
        export(tmp_path / "file")


def test_a_disk_that_fails_leaves_the_old_one(tmp_path, monkeypatch):
    out = tmp_path / "out"
    export(out)
    before = (out / "manifest.json").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(building_module.shutil, "copyfile", full)
    with pytest.raises(RunFolderError, match="cannot be written: No space left on device"):
        export(out, make_policy(seed=2), overwrite=True)
    assert (out / "manifest.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_disk_that_fails_at_the_second_format_keeps_both_away(tmp_path, monkeypatch):
    copy = building_module.shutil.copyfile

    def full(source, target):
        if "second" in str(target):
            raise OSError(28, "No space left on device")
        copy(source, target)

    monkeypatch.setattr(building_module.shutil, "copyfile", full)
    requests = [Request("npz", tmp_path / "first"), Request("npz", tmp_path / "second")]
    with pytest.raises(RunFolderError, match="cannot be written: No space left on device"):
        export_subject(plain_subject(make_policy(), ROLLOUT), requests)
    assert nothing_in(tmp_path)


def test_a_temporary_disk_that_is_full_is_one_sentence(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(NpzExporter, "export", full)
    with pytest.raises(RunFolderError, match="built in the temporary folder: No space left on device"):
        export(tmp_path / "x")
    assert nothing_in(tmp_path)


def test_torch_does_not_write_by_itself_where_the_disk_is_full(tmp_path, monkeypatch):
    """Its own writer would end the whole process."""
    written = []

    def full(path, _):
        written.append(path.name)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(RunFolderError, match="built in the temporary folder: No space left on device"):
        export(tmp_path / "x", format="torch")
    assert written == ["policy.pt2"]
    assert nothing_in(tmp_path)


def test_a_name_that_is_too_long_is_one_sentence(tmp_path):
    with pytest.raises(RunFolderError, match="cannot be read: File name too long"):
        export(tmp_path / ("x" * 300))


def test_every_changed_file_is_found(tmp_path):
    out = tmp_path / "out"
    names = sorted(path.name for path in export(out, format="c99").folder.iterdir())
    assert len(names) == 10
    for name in names:
        path = out / name
        whole = path.read_bytes()
        middle = len(whole) // 2
        path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
        with pytest.raises(ArtefactError, match=r"was changed|damaged"):
            verify(out)
        path.unlink()
        with pytest.raises(ArtefactError, match=f"no {name}"):
            verify(out)
        path.write_bytes(whole)
    verify(out)


def test_weights_that_were_changed_with_their_hashes_do_not_act_the_same(tmp_path):
    """Who changes a weight and every hash is found out by the test vectors."""
    from hyperrl.exporters.manifest import write_manifest

    out = tmp_path / "out"
    table = dict(export(out).manifest)
    with np.load(out / "policy.npz") as file:
        arrays = dict(file)
    arrays["weight_1"] = arrays["weight_1"] + np.float32(0.01)
    np.savez(out / "policy.npz", **arrays)
    (out / "manifest.json").unlink()
    write_manifest(out, {key: value for key, value in table.items() if key not in ("files", "sha256")})
    with pytest.raises(ArtefactError, match="does not act as its test vectors say"):
        verify(out)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"kind": "hyperrl-artefact", "sha256": 1}', "[" * 100_000]
)
def test_a_damaged_manifest_is_refused(content, tmp_path):
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(ArtefactError, match="manifest"):
        verify(tmp_path)


def test_no_artefact_at_all(tmp_path):
    with pytest.raises(ArtefactError, match="holds no exported policy"):
        verify(tmp_path / "nowhere")


def test_folding_needs_a_rollout_that_is_not_clipped(tmp_path):
    out = tmp_path / "folded"
    policy = make_policy(clip=3.5)
    exported = export(out, policy, fold_normaliser=True, reference=policy)
    assert exported.manifest["normaliser"]["folded_into_first_layer"]
    assert exported.manifest["normaliser"]["clipped_share_of_rollout"] < 0.05
    assert exported.manifest["policy"]["normaliser"] is None
    verify(out)
    with pytest.raises(ExportError, match=r"clips .* % of the observations of a rollout: it cannot"):
        export(tmp_path / "b", make_policy(clip=0.5), fold_normaliser=True)


def test_folding_that_loses_digits_is_refused(tmp_path):
    """A number that never changed in training has a deviation of 1e-4: folded, it would drown the rest."""
    policy = hard_policies()["constant observations"]
    draw = np.random.default_rng(0)
    rollout = policy.normaliser.mean + policy.normaliser.deviation * draw.normal(size=(100, 5))
    with pytest.raises(ExportError, match="differs by"):
        export(tmp_path / "x", policy, rollout=rollout, fold_normaliser=True)
    assert export(tmp_path / "x", policy, rollout=rollout).manifest["parity"]["tolerance"] == 1e-5


class Pendulum:
    """Returns that depend on how near actions are to those of the policy."""

    def __init__(self, policy, price):
        self.policy, self.price, self.players = policy, price, []

    def __call__(self, player, episodes):
        self.players.append(player)
        error = np.mean([np.abs(player.predict(one)[0] - self.policy(one)).mean() for one in ROLLOUT[:20]])
        return [100 + index - self.price * float(error) for index in range(episodes)]


def test_int8_is_judged_by_its_return(tmp_path):
    policy = make_policy()
    play = Pendulum(policy, 0.1)
    table = export(tmp_path / "a", policy, format="c99", weights="int8", play=play).manifest
    assert len(play.players) == 2
    assert table["evaluation"]["episodes"] == 20
    assert 0 <= table["evaluation"]["lost_share"] < 0.05
    assert table["budget"]["weight_bits"] == 8
    verify(tmp_path / "a")
    with pytest.raises(ExportError, match=r"int8 weights lose .* % of the return"):
        export(tmp_path / "b", policy, format="c99", weights="int8", play=Pendulum(policy, 1e5))
    assert nothing_in(tmp_path / "b")
    export(tmp_path / "b", policy, format="c99", weights="int8", play=Pendulum(policy, 2e3), max_loss=1.0)
    with pytest.raises(ExportError, match="without an environment"):
        export(tmp_path / "c", policy, format="c99", weights="int8")


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"format": "c98"}, UnknownNameError, "did you mean 'c99'"),
        ({"weights": "int4"}, UnknownNameError, "did you mean 'int8'"),
        ({"format": "onnx", "weights": "int8"}, ExportError, "the format onnx has no int8 weights"),
        ({"prefix": "a-b"}, ConfigError, "a prefix must be"),
        ({"rollout": ROLLOUT[:63]}, ExportError, "at least 64 observations.*got 63"),
    ],
)
def test_refusals_write_nothing(changes, error, words, tmp_path):
    with pytest.raises(error, match=words):
        export(tmp_path / "x", **changes)
    assert nothing_in(tmp_path)


def test_an_environment_that_names_too_few_numbers_is_refused():
    with pytest.raises(
        ShapeError, match="observation_names must have one entry for each of 4 numbers, got 1"
    ):
        Interface(("a",), ("b",), ("c",), ("d",)).check(4, 1)


def test_two_formats_need_two_places(tmp_path):
    with pytest.raises(ConfigError, match="a folder of its own"):
        export_subject(
            plain_subject(make_policy(), ROLLOUT),
            [Request("npz", tmp_path / "x"), Request("onnx", tmp_path / "x")],
        )


def test_a_policy_that_float32_cannot_hold_is_refused(tmp_path):
    """What is left of two large numbers, one taken from the other, is rounding alone."""
    first = np.array([[1e6, 1e6, 0, 0], [1e6, 1e6, 0, 1]])
    policy = PlainPolicy.from_arrays(
        [first, [[1.0, -1.0]]], [np.zeros(2), np.zeros(1)], head=bounded([-9], [9])
    )
    with pytest.raises(ExportError, match="between float32 and float64"):
        export(tmp_path / "x", policy)
    assert nothing_in(tmp_path)


def test_the_manifest_is_json_that_anybody_reads(tmp_path):
    strange = {"env_kwargs": {"range": (0.2, np.inf), 3: np.float32(1.5), "shape": np.arange(2)}}
    exported = export(tmp_path / "x", hard_policies()["actions without bounds"], provenance=strange)
    verify(exported.folder)
    table = json.loads(
        (exported.folder / "manifest.json").read_text(), parse_constant=lambda name: pytest.fail(name)
    )
    assert [row["low"] for row in table["actions"]] == [None] * 3
    assert table["normaliser"]["clip"] is None
    assert table["provenance"]["env_kwargs"] == {"range": [0.2, "inf"], "3": "1.5", "shape": "[0 1]"}
