import dataclasses
import json
import pickle
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from safetensors.torch import load_file as load_tensors

from hyperrl.errors import BoundsError, CheckpointCorruptError, CheckpointError, HyperRLError, StateError
from hyperrl.run.files import Files
from hyperrl.run.store import CheckpointStore, Segment
from tests.faults.disk import WatchedFiles

MEMBERS = ["checkpoint.json", "manifest.json", "policy.safetensors", "state.json", "state.safetensors"]


def parts(count=1):
    return {
        "weights": {"actor.weight": torch.full((3, 2), float(count)), "actor.steps": torch.tensor(count)},
        "state": {"count": count, "moments": {0: torch.ones(3) * count}, "rng": (3, 2**100)},
        "about": {"agent": "td3", "versions": {"torch": "2"}, "list": [1, None, 0.5]},
    }


def names_in(path):
    return sorted(child.name for child in path.iterdir())


def test_a_checkpoint_comes_back(tmp_path):
    store = CheckpointStore(tmp_path / "run" / "ckpt")
    path = store.save(12_000, **parts(7))
    assert path == tmp_path / "run" / "ckpt" / "step-000000012000"
    assert names_in(path) == MEMBERS
    assert names_in(store.folder) == ["latest.json", "step-000000012000"]
    for name in ("latest", "step-000000012000", "12000"):
        store.verify(name)
        checkpoint = store.load(name)
        assert (checkpoint.path, checkpoint.name, checkpoint.steps) == (path, path.name, 12_000)
        assert checkpoint.about == parts()["about"]
        assert checkpoint.segments == ()
        assert checkpoint.state()["rng"] == (3, 2**100)
        assert torch.equal(checkpoint.state()["moments"][0], torch.ones(3) * 7)
        weights = checkpoint.weights()
        assert sorted(weights) == ["actor.steps", "actor.weight"]
        assert torch.equal(weights["actor.weight"], torch.full((3, 2), 7.0))
        assert weights["actor.steps"].dtype == torch.int64


def test_other_tools_can_read_the_members(tmp_path):
    path = CheckpointStore(tmp_path).save(5, **parts(2))
    assert torch.equal(load_tensors(path / "policy.safetensors")["actor.weight"], torch.full((3, 2), 2.0))
    about = json.loads((path / "checkpoint.json").read_text())
    assert about == {"format": 1, "steps": 5, "about": parts()["about"]}
    manifest = json.loads((path / "manifest.json").read_text())
    assert sorted(member["name"] for member in manifest["members"]) == sorted({*MEMBERS} - {"manifest.json"})
    for member in manifest["members"]:
        assert member["size"] == (path / member["name"]).stat().st_size


def test_what_was_loaded_is_independent_of_the_files_and_of_other_copies(tmp_path):
    store = CheckpointStore(tmp_path)
    path = store.save(5, **parts(2))
    checkpoint = store.load()
    checkpoint.weights()["actor.weight"].zero_()
    checkpoint.state()["moments"][0].zero_()
    for name in MEMBERS:
        (path / name).unlink()
    assert torch.equal(checkpoint.weights()["actor.weight"], torch.full((3, 2), 2.0))
    assert torch.equal(checkpoint.state()["moments"][0], torch.full((3,), 2.0))


def test_the_newest_and_the_best_are_kept(tmp_path):
    store = CheckpointStore(tmp_path, keep=2)
    for count in range(1, 7):
        store.save(count * 100, **parts(count), best=count == 2)
    assert store.names() == ["step-000000000200", "step-000000000500", "step-000000000600"]
    assert store.load("best").steps == 200
    assert store.load().steps == 600
    store.save(700, **parts(7), best=True)
    assert store.names() == ["step-000000000600", "step-000000000700"]
    assert store.load("best") == store.load()
    assert CheckpointStore(tmp_path).names() == store.names()


def test_the_same_step_again_replaces_the_older_one(tmp_path):
    store = CheckpointStore(tmp_path)
    store.save(100, **parts(1))
    for count in (2, 3, 4):
        path = store.save(200, **parts(count))
        assert path == tmp_path / "step-000000000200"
        assert store.load().state()["count"] == count
        assert store.load("200").state()["count"] == count
        assert store.names() == ["step-000000000100", "step-000000000200"]
    assert names_in(tmp_path) == ["latest.json", "step-000000000100", "step-000000000200"]


def test_the_same_step_again_does_not_take_the_best_one_away(tmp_path):
    store = CheckpointStore(tmp_path)
    store.save(200, **parts(1), best=True)
    for count in (2, 3):
        path = store.save(200, **parts(count))
        assert store.load("best").state()["count"] == 1
        assert store.load().state()["count"] == count
        assert store.load("200").state()["count"] == count
        assert store.load().path == path
        assert len(store.names()) == 2
    assert store.save(200, **parts(4), best=True) == tmp_path / "step-000000000200"
    assert store.load("best").state()["count"] == 4
    assert store.names() == ["step-000000000200"]


def test_something_good_is_there_at_every_operation_of_a_replacement(tmp_path):
    seen = set()

    class Watching(Files):
        def replace(self, source, target):
            self.look()
            super().replace(source, target)
            self.look()

        def remove(self, path):
            self.look()
            super().remove(path)

        def look(self):
            seen.add(CheckpointStore(tmp_path).load().state()["count"])

    CheckpointStore(tmp_path).save(100, **parts(1))
    CheckpointStore(tmp_path, files=Watching()).save(100, **parts(2))
    assert seen == {1, 2}


def test_a_save_waits_for_the_disk_before_each_step_that_stands_on_the_last(tmp_path):
    store = CheckpointStore(tmp_path, keep=1)
    store.save(100, **parts(1))
    files = WatchedFiles()
    CheckpointStore(tmp_path, keep=1, files=files).save(200, **parts(2), best=True)
    pointer = ["open", "write", "sync", "replace", "sync_folder"]
    assert files.log == [
        "make_folder",
        *["open", "write"] * 5,
        *["sync"] * 5,
        *["sync_folder", "replace", "sync_folder"],
        *pointer * 2,
        # The older one disappears at once, and for good, before the first of its files goes.
        *["replace", "sync_folder"],
        *["remove"] * 5,
        "remove_folder",
    ]


def test_steps_may_be_any_integer_from_zero_on(tmp_path):
    store = CheckpointStore(tmp_path, keep=4)
    for steps in (0, np.int64(5), 10**13):
        store.save(steps, **parts())
    assert store.names() == ["step-000000000000", "step-000000000005", "step-10000000000000"]
    assert store.load("0").steps == 0
    assert store.load("10000000000000").steps == 10**13
    for steps in (-1, 10**18):
        with pytest.raises(BoundsError, match="must be of 0 to"):
            store.save(steps, **parts())
    with pytest.raises(TypeError):
        store.save(1.5, **parts())
    with pytest.raises(BoundsError, match="at least 1 checkpoint, not 0"):
        CheckpointStore(tmp_path, keep=0)


def test_segments_are_shared_and_go_with_the_last_checkpoint_that_needs_them(tmp_path):
    store = CheckpointStore(tmp_path, keep=2)
    segments = []
    for count in range(5):
        segments.append(store.append_segment({"rows": np.full((4, 2), count, np.float32)}))
        # The buffer holds three segments.
        store.save(100 * count, **parts(count), segments=segments[-3:])
    assert store.load().segments == tuple(segments[-3:])
    assert store.load("300").segments == tuple(segments[1:4])
    assert names_in(tmp_path / "replay") == sorted(segment.name for segment in segments[1:])
    for count in range(1, 5):
        assert (store.read_segment(segments[count])["rows"] == count).all()
    with pytest.raises(CheckpointCorruptError, match="is missing"):
        store.read_segment(segments[0])


def test_a_segment_holds_arrays_of_any_real_type(tmp_path):
    store = CheckpointStore(tmp_path)
    types = ["bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"]
    types += ["float16", "float32", "float64"]
    arrays = {name: np.arange(7).astype(name) for name in types}
    arrays |= {"empty": np.zeros((0, 3), np.float32), "one": np.array(2.5), "back": np.arange(6)[::-2]}
    arrays |= {"fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)), "ünï code": np.ones(1)}
    segment = store.append_segment(arrays)
    path = tmp_path / "replay" / segment.name
    assert segment.size == path.stat().st_size
    for back in (store.read_segment(segment), load_file(path)):
        assert back.keys() == arrays.keys()
        for name, array in arrays.items():
            assert (back[name].dtype, back[name].shape) == (array.dtype, array.shape)
            assert np.array_equal(back[name], array)
    assert store.read_segment(segment)["float32"].flags.writeable
    assert store.read_segment(store.append_segment({})) == {}


@pytest.mark.parametrize(
    "array",
    [np.array([None]), np.array(["a"]), np.ones(2, ">f4"), np.ones(2, complex), np.ones(2, "longdouble")],
)
def test_a_segment_of_other_types_is_refused(tmp_path, array):
    store = CheckpointStore(tmp_path)
    with pytest.raises(StateError, match="the replay array 'rows' cannot be saved: it is of type"):
        store.append_segment({"rows": array})
    with pytest.raises(StateError, match="__metadata__"):
        store.append_segment({"__metadata__": np.ones(1)})
    assert list(tmp_path.iterdir()) == []


def test_segments_are_json(tmp_path):
    store = CheckpointStore(tmp_path)
    segment = store.append_segment({"rows": np.ones(3)})
    assert Segment(**json.loads(json.dumps(dataclasses.asdict(segment)))) == segment


def test_a_segment_that_is_not_there_is_refused_before_anything_is_written(tmp_path):
    store = CheckpointStore(tmp_path)
    segment = store.append_segment({"rows": np.ones(3)})
    store.save(1, **parts(), segments=[segment])
    before = names_in(tmp_path)
    for other in (
        dataclasses.replace(segment, name="0" * 32 + ".safetensors"),
        dataclasses.replace(segment, size=segment.size + 1),
        dataclasses.replace(segment, name="../latest.json"),
        dataclasses.replace(segment, name=f"../replay/{segment.name}"),
    ):
        with pytest.raises(CheckpointError, match="replay"):
            store.save(2, **parts(), segments=[other])
    assert names_in(tmp_path) == before


def test_segments_of_no_checkpoint_yet_outlive_a_save_without_them(tmp_path):
    store = CheckpointStore(tmp_path)
    segment = store.append_segment({"rows": np.ones(3)})
    store.save(1, **parts(), best=True)
    store.save(2, **parts(), segments=[segment])
    assert store.load().segments == (segment,)
    # Another process knows nothing of a segment that no checkpoint has.
    lost = store.append_segment({"rows": np.zeros(3)})
    CheckpointStore(tmp_path).save(3, **parts())
    assert names_in(tmp_path / "replay") == [segment.name]
    with pytest.raises(CheckpointError, match="is missing"):
        store.save(4, **parts(), segments=[lost])


def test_what_others_put_beside_the_checkpoints_is_left_alone(tmp_path):
    (tmp_path / "replay").mkdir()
    own = [".notes", "a.tmp", "final", ".step-notes", "step-12", "replay/rows.npy", "replay/a.tmp"]
    for name in own:
        (tmp_path / name).write_text("mine")
    store = CheckpointStore(tmp_path, keep=1)
    for count in range(3):
        store.save(count, **parts())
    assert [(tmp_path / name).read_text() for name in own] == ["mine"] * len(own)
    assert store.names() == ["step-000000000002"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"state": {"lr": lambda x: x}}, r"lr is a builtins\.function"),
        ({"weights": {"a": np.ones(2)}}, "the weight a .* cannot be saved"),
        (
            {"weights": {"a": torch.ones(2, dtype=torch.complex128)}},
            r"the weight a \(torch.complex128\) cannot",
        ),
        ({"weights": {"a": torch.ones(2).to_sparse()}}, "the weight a .* cannot be saved"),
        ({"weights": {"a": torch.ones(2, device="meta")}}, "the weight a .* cannot be saved"),
        ({"weights": {"__metadata__": torch.ones(2)}}, "under the name '__metadata__'"),
        ({"weights": {5: torch.ones(2)}}, "under the name 5"),
        ({"weights": {"\ud800": torch.ones(2)}}, "under the name"),
        ({"about": {"a": torch.ones(1)}}, "plain JSON values: .*Tensor"),
        ({"about": {"a": float("nan")}}, "plain JSON values"),
        ({"about": {"a": (1, 2)}}, "plain JSON values, not"),
        ({"about": {1: 2}}, "plain JSON values, not"),
    ],
)
def test_what_cannot_be_saved_is_refused_before_anything_is_written(tmp_path, change, message):
    with pytest.raises(StateError, match=message) as caught:
        CheckpointStore(tmp_path / "ckpt").save(1, **parts() | change)
    assert isinstance(caught.value, HyperRLError)
    assert list(tmp_path.iterdir()) == []


def test_weights_that_share_memory_are_saved_apart(tmp_path):
    store = CheckpointStore(tmp_path)
    base = torch.arange(6.0).reshape(2, 3)
    parameter = torch.nn.Parameter(base)
    weights = {"a": base, "b": base, "t": base.T, "row": base[1], "p": parameter, "none": torch.zeros(0, 3)}
    store.save(1, weights=weights, state=None, about={})
    back = store.load().weights()
    assert back.keys() == weights.keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in weights.items())


def test_nothing_is_unpickled(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("something was unpickled")

    store = CheckpointStore(tmp_path)
    segment = store.append_segment({"rows": np.ones(3)})
    path = store.save(1, **parts(), segments=[segment])
    for module, names in ((pickle, ("load", "loads", "Unpickler")), (torch, ("load",)), (np, ("load",))):
        for name in names:
            monkeypatch.setattr(module, name, refuse)
    store.load().state()
    store.read_segment(segment)

    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "executed"), "w"))

    poison = pickle.dumps(Trap())
    for name in MEMBERS:
        whole = (path / name).read_bytes()
        (path / name).write_bytes(poison)
        with pytest.raises(CheckpointCorruptError):
            store.load("1")
        (path / name).write_bytes(whole)
    assert not (tmp_path / "executed").exists()


def test_saving_and_loading_draw_no_random_numbers(tmp_path):
    store = CheckpointStore(tmp_path)

    def states():
        return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()

    before = states()
    segment = store.append_segment({"rows": np.ones(3)})
    store.save(1, **parts(), segments=[segment])
    store.read_segment(store.load().segments[0])
    assert states() == before


def bytes_read():
    return int(Path("/proc/self/io").read_text().split()[1])


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="the system does not count bytes")
def test_a_save_costs_only_what_is_new(tmp_path):
    store = CheckpointStore(tmp_path)
    segments = [store.append_segment({"rows": np.ones(10_000)}) for _ in range(100)]
    store.save(0, **parts(), segments=segments)
    before = bytes_read()
    store.save(1, **parts(), segments=segments)
    store.save(2, **parts(), segments=segments)
    # The manifests of the older checkpoints, a few times; never the eight megabytes of rows.
    assert bytes_read() - before < 1_000_000
    before = bytes_read()
    store.load()
    assert bytes_read() - before > 8_000_000
    before = bytes_read()
    store.load(replay=False)
    assert bytes_read() - before < 100_000
