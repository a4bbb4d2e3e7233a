import pytest

from hyperrl.errors import ConfigError, UnknownNameError
from hyperrl.sweep.grid import Grid, check_key, nested, read_grid


def grid(excluded=(), **axes):
    return read_grid(axes, list(excluded), "file")


def test_every_combination_is_there_and_the_first_seed_of_all_comes_first():
    found = grid(seed=[0, 1], agent=["a", "b"], env=["x", "y"]).combinations()
    assert len(found) == 8
    assert [one["seed"] for one in found] == [0] * 4 + [1] * 4
    assert [one["agent"] for one in found[:2]] == ["a", "b"]


def test_dotted_keys_quoted_keys_and_tables_are_the_same():
    nested_table = read_grid({"agent_kwargs": {"policy_kwargs": {"net_arch": [[8], [16]]}}}, [], "file")
    quoted = read_grid({"agent_kwargs.policy_kwargs.net_arch": [[8], [16]]}, [], "file")
    assert nested_table == quoted == Grid({"agent_kwargs.policy_kwargs.net_arch": ([8], [16])})


def test_seeds_can_be_counted():
    assert grid(seed={"count": 3}).axes["seed"] == (0, 1, 2)
    assert grid(seed={"count": 2, "start": 7}).axes["seed"] == (7, 8)


def test_combinations_are_excluded_by_some_of_their_values():
    pattern = {"agent": "b", "agent_kwargs": {"gamma": 0.9}}
    axes = {"agent": ["a", "b"], "agent_kwargs.gamma": [0.9, 0.99]}
    found = read_grid(axes, [pattern], "file").combinations()
    assert found == [
        {"agent": "a", "agent_kwargs.gamma": 0.9},
        {"agent": "a", "agent_kwargs.gamma": 0.99},
        {"agent": "b", "agent_kwargs.gamma": 0.99},
    ]


def test_a_table_can_be_a_value_and_be_excluded():
    axes = {"env_kwargs": [{"gravity": 1.0}, {"gravity": 2.0}]}
    (one,) = read_grid(axes, [{"env_kwargs": {"gravity": 1.0}}], "file").combinations()
    assert one == {"env_kwargs": {"gravity": 2.0}}


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ({}, r"\[grid\] of file is empty"),
        ({"seed": []}, "seed in .* is an empty list"),
        ({"seed": 3}, "must be a list of values, got 3"),
        ({"seed": [1, 2, 1]}, "has 1 twice"),
        ({"seed": {"count": 0}}, "count of seed .* whole number from 1"),
        ({"seed": {"count": True}}, "count of seed"),
        ({"seed": {"start": 1}}, "seed .* needs a count"),
        ({"seed": {"count": 2, "start": -1}}, "start of seed"),
        ({"agent": [3]}, "agent .* must hold names, got 3"),
        ({"env": [""]}, "env .* must hold names"),
        ({"out": ["a"]}, "out cannot be in"),
        ({"threads": [1, 2]}, "threads cannot be in .*: each run of a sweep has one thread"),
        ({"steps.x": [1]}, "'steps.x' .* is no setting"),
        ({"agent_kwargs..x": [1]}, "is no setting"),
        ({"agent_kwargs": [{}], "agent_kwargs.gamma": [0.9]}, "set the same"),
    ],
)
def test_what_is_no_grid_is_refused(table, sentence):
    with pytest.raises(ConfigError, match=sentence):
        read_grid(table, [], "file")


def test_unknown_names_have_the_nearest():
    with pytest.raises(
        UnknownNameError, match=r"unknown setting in .grid. of file 'sed', did you mean 'seed'"
    ):
        grid(sed=[1])
    with pytest.raises(UnknownNameError, match=r"unknown key of seed .* 'cuont', did you mean 'count'"):
        grid(seed={"cuont": 3})
    with pytest.raises(UnknownNameError, match=r"unknown axis in .*exclude.* 'sed', did you mean 'seed'"):
        grid([{"sed": 1}], seed=[1, 2])


@pytest.mark.parametrize(
    ("pattern", "sentence"), [({}, "is empty"), ({"seed": 7}, "names seed = 7, which .grid. does not have")]
)
def test_an_exclusion_without_sense_is_refused(pattern, sentence):
    with pytest.raises(ConfigError, match=sentence):
        grid([pattern], seed=[0, 1])


def test_nothing_left_and_too_much_are_refused():
    with pytest.raises(ConfigError, match="nothing is left to run"):
        grid([{"seed": 0}], seed=[0]).combinations()
    large = grid(seed={"count": 10_000}, steps=list(range(1, 101)))
    with pytest.raises(ConfigError, match="1,000,000 combinations: a sweep has 10,000 at most"):
        large.combinations()


def test_keys_are_nested_and_checked():
    assert nested("a.b.c", 1) == {"a": {"b": {"c": 1}}}
    check_key("env_kwargs.gravity", "here")
    with pytest.raises(ConfigError, match="is no setting"):
        check_key("env_kwargs.", "here")
