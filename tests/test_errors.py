import inspect
import pickle

import pytest

from hyperrl import errors
from hyperrl.errors import HyperRLError, nearest_name, unknown_name

BUILTINS = {
    "BoundsError": ValueError,
    "ConfigError": ValueError,
    "DuplicateNameError": ValueError,
    "MissingExtraError": ImportError,
    "NonFiniteError": ValueError,
    "PluginError": ImportError,
    "RunFolderError": OSError,
    "ShapeError": ValueError,
    "UnknownNameError": KeyError,
    "UnsupportedEnvError": ValueError,
    "UnsupportedSpaceError": ValueError,
    "UsageError": ValueError,
}
CLASSES = {
    name: member
    for name, member in inspect.getmembers(errors, inspect.isclass)
    if issubclass(member, HyperRLError) and member is not HyperRLError
}


def test_every_error_is_listed_here():
    assert set(CLASSES) >= set(BUILTINS)


@pytest.mark.parametrize("name", sorted(BUILTINS))
def test_an_error_is_also_the_fitting_builtin(name):
    assert issubclass(CLASSES[name], BUILTINS[name])


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_an_error_shows_its_sentence_as_it_is_and_survives_pickling(name):
    error = CLASSES[name]("gamma must be at most 1, got 2")
    assert str(error) == "gamma must be at most 1, got 2"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert CLASSES[name].__doc__.count("\n") == 0


@pytest.mark.parametrize(
    ("given", "nearest"),
    [("hyper-td4", "hyper-td3"), ("HYPER-SAC", "hyper-sac"), ("td", "td3"), ("zzzz", None), ("", None)],
)
def test_nearest_name(given, nearest):
    assert nearest_name(given, ["hyper-td3", "hyper-sac", "td3"]) == nearest


def test_nearest_name_prefers_the_newest_version():
    assert nearest_name("Ant", ["Ant-v4", "Ant-v5"]) == "Ant-v5"


def test_unknown_name_has_the_nearest_and_the_list():
    text = str(unknown_name("agent", "td4", {"td3", "sac"}))
    assert text == "unknown agent 'td4', did you mean 'td3'? (valid: sac, td3)"


def test_unknown_name_of_a_long_list_always_has_a_nearest_name():
    text = str(unknown_name("environment", "banana", [f"Walker-v{i}" for i in range(50)]))
    assert "did you mean 'Walker-v" in text
    assert "valid" not in text


def test_unknown_name_where_there_is_none():
    assert str(unknown_name("preset", "demo", [])) == "unknown preset 'demo' (there is no preset at all)"
