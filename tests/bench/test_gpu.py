"""The benchmarks for GPUs, on a CPU: what they measure, what they write and how they judge."""

import csv

import pytest

from hyperrl.bench import gpu, gpu_learning
from hyperrl.bench.timing import Timings
from hyperrl.bench.update import builder
from hyperrl.cli import main
from hyperrl_agents.baselines.td3 import TD3

GROUP = gpu.Group(
    "g",
    {"one": lambda *_: None, "eight": lambda *_: None},
    {"eight": 8},
    {"eight": ("speedup", 6.0), "one": ("updates_per_second", 150.0)},
)
TIMES = {"one": [0.2, 0.4, 0.4], "eight": [0.4, 0.4, 0.8]}


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def row(name, device, monkeypatch):
    monkeypatch.setattr(gpu, "provenance", lambda seed, device: {"seed": seed})
    return gpu._row(GROUP, name, Timings(TIMES, TIMES), 3, 40, device, 0)


def test_updates_of_all_seeds_count(monkeypatch):
    found = row("eight", "cuda", monkeypatch)
    assert (found["ms"], found["updates_per_second"]) == (10.0, 800.0)
    # Eight times one's updates in the time of 0.5, 1 and 0.5 of its rounds.
    assert (found["speedup"], found["speedup_min"], found["speedup_max"]) == (4.0, 4.0, 8.0)
    assert (found["floor"], found["met"]) == (6.0, False)


def test_floors_may_be_of_either_kind_and_are_for_gpus(monkeypatch):
    assert row("one", "cuda", monkeypatch)["met"] is False
    assert row("one", "cpu", monkeypatch)["met"] is None


def test_the_groups_are_those_of_the_gates():
    td3, sac, paper, fast = gpu.groups((1, 8), "cuda")
    for group in (td3, sac):
        assert list(group.variants) == ["sb3", "compiled", "stack of 1", "stack of 8"]
        assert group.seeds == {"stack of 1": 1, "stack of 8": 8}
        assert group.floors == {"stack of 1": ("speedup", 6.0)}
    assert paper.floors["compiled"] == ("updates_per_second", 1500.0)
    assert "compiled, high" in paper.variants
    assert list(fast.variants) == ["eager", "stack of 1", "stack of 8"]
    assert "compiled, high" not in gpu.groups((8,), "cpu")[2].variants
    assert len(gpu.groups((8,), "cpu", quick=True)) == 1


def test_what_could_not_be_compiled_meets_no_floor(monkeypatch):
    class Model:
        compile = True
        _refused, _failed = False, object()

        def train(self, gradient_steps, batch_size):
            pass

    group = gpu.Group("g", {"one": lambda *_: Model()}, {}, {"one": ("speedup", 0.5)})
    monkeypatch.setattr(gpu, "interleave", lambda *args, **kwargs: Timings({"one": [1.0]}, {"one": [1.0]}))
    monkeypatch.setattr(gpu, "provenance", lambda seed, device: {})
    (row,) = gpu.measure(group, device="cuda", rounds=1, steps=2)
    assert (row["not_compiled"], row["met"]) == ("see the warning", False)
    Model._failed = None
    (row,) = gpu.measure(group, device="cuda", rounds=1, steps=2)
    assert (row["not_compiled"], row["met"]) == ("", True)


def test_a_measurement_writes_a_row_for_each_variant(tmp_path, monkeypatch):
    # Compiling is what the agents' own tests are for.
    monkeypatch.setattr("hyperrl.sb3.seeds.update.CompiledFunction", _uncompiled)
    stack = gpu.stack_builder("compiled-td3", 2)
    group = gpu.Group("g", {"sb3": builder(TD3, "MlpPolicy"), "2 seeds": stack}, {"2 seeds": 2}, {})
    monkeypatch.setattr(gpu, "groups", lambda *_: [group])
    assert gpu.publish(tmp_path, device="cpu", rounds=1, stacks=(2,), quick=True)
    sb3, ours = rows_of(tmp_path / "gpu-cpu.csv")
    assert (sb3["variant"], sb3["speedup"], sb3["clock"]) == ("sb3", "1.0", "cpu")
    assert (ours["seeds"], ours["met"]) == ("2", "")
    assert float(ours["updates_per_second"]) > 0


def _uncompiled(function, name, *, compiled):
    from hyperrl.compiled import CompiledFunction

    return CompiledFunction(function, name, compiled=False)


class Model:
    """Counts steps, as what the clock looks at."""

    def __init__(self):
        self.num_timesteps = 0
        self.envs_per_seed = 1


def clock(returns, seconds, target, monkeypatch, a_step_takes=1.0):
    now = [0.0]
    monkeypatch.setattr(gpu_learning.time, "perf_counter", lambda: now[0])

    def evaluate(model):
        now[0] += 100.0
        return returns(model.num_timesteps)

    made = gpu_learning.Clock(evaluate, 10, seconds, target)
    made.model = Model()
    made._on_training_start()
    while made._on_step():
        now[0] += a_step_takes
        made.model.num_timesteps += 1
        made.num_timesteps = made.model.num_timesteps
        made._on_rollout_end()
    return made.rows


def test_learning_ends_at_the_target_and_evaluations_take_no_time(monkeypatch):
    rows = clock(lambda steps: [steps, steps + 2], 1000, 21, monkeypatch)
    assert [(row["steps"], row["seconds"], row["mean"]) for row in rows] == [
        (0, 0, 1),
        (10, 10, 11),
        (20, 20, 21),
    ]
    assert (rows[-1]["low"], rows[-1]["high"]) == (20, 22)


def test_learning_ends_in_time(monkeypatch):
    rows = clock(lambda steps: [0.0], 25, 1, monkeypatch)
    assert [row["steps"] for row in rows] == [0, 10, 20, 25]


def test_a_curve_is_written_and_only_ten_minutes_decide(tmp_path):
    settings = {"agent": "compiled-td3", "device": "cpu", "seeds": 2, "threads": 1, "every": 50}
    assert gpu_learning.publish(tmp_path, **settings, minutes=0.001, compiled=False)
    rows = rows_of(tmp_path / "gpu-learning-cpu.csv")
    assert rows[0]["steps"] == "0"
    assert (rows[-1]["target"], rows[-1]["seeds"]) == ("9656.0", "2")
    assert float(rows[-1]["seconds"]) >= 0.06


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["gpu", "--device", "tpu"], "tpu"),
        (["gpu", "--device", "cpu", "--stacks", "0"], "stacks must be"),
        (["gpu-learning", "--device", "cpu", "--minutes", "0"], "minutes must be"),
        (["gpu-learning", "--device", "cpu", "--threads", "4000"], "threads must be"),
        (
            ["gpu-learning", "--device", "cpu", "--agent", "compiled-ppo"],
            "cannot be trained with several seeds",
        ),
    ],
)
def test_a_mistake_is_one_sentence_and_status_2(argv, message, capsys, tmp_path):
    assert main(["bench", *argv, "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not list(tmp_path.glob("*.csv"))
