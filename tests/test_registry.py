from importlib.metadata import EntryPoint

import pytest

from hyperrl import registry as module
from hyperrl.errors import DuplicateNameError, PluginError, UnknownNameError
from hyperrl.registry import Registry, agents, kinds


class Fancy:
    """Something to register."""


@pytest.fixture
def registry(monkeypatch):
    points = [
        EntryPoint("counter", "collections:Counter", "test.group"),
        EntryPoint("broken", "collections:NoSuchClass", "test.group"),
        EntryPoint("missing", "no_such_module_anywhere:Thing", "test.group"),
        EntryPoint("function", "json:dumps", "test.group"),
    ]
    monkeypatch.setattr(module, "entry_points", lambda group: points if group == "test.group" else [])
    return Registry("test.group", "thing")


def test_the_agents_and_kinds_of_the_project_are_registered():
    assert {"hyper-sac", "hyper-td3", "sac", "td3"} <= set(agents.names())
    assert {"concat", "film", "linear", "lowrank", "mlp", "modular"} <= set(kinds.names())


@pytest.mark.parametrize("name", ["hyper-sac", "hyper-td3", "sac", "td3"])
def test_every_agent_loads(name):
    assert callable(agents.get(name).learn)


@pytest.mark.parametrize("name", ["concat", "film", "linear", "lowrank", "mlp", "modular"])
def test_every_kind_loads(name):
    assert isinstance(kinds.get(name), type)


def test_entry_points_and_registered_classes_are_found(registry):
    registry.register("fancy", Fancy)
    assert registry.names() == ["broken", "counter", "fancy", "function", "missing"]
    assert registry.get("fancy") is Fancy
    assert registry.get("counter").__name__ == "Counter"
    assert registry.module("counter") == "collections"
    assert registry.module("fancy") == __name__
    assert registry.location("counter") == "collections:Counter"
    assert registry.location("fancy") == f"{__name__}:Fancy"


def test_a_name_cannot_be_taken_twice(registry):
    registry.register("fancy", Fancy)
    registry.register("fancy", Fancy)
    with pytest.raises(DuplicateNameError, match="'fancy' is already registered"):
        registry.register("fancy", dict)
    with pytest.raises(DuplicateNameError, match="collections:Counter"):
        registry.register("counter", dict)
    assert registry.get("fancy") is Fancy


@pytest.mark.parametrize("method", ["get", "module", "location"])
def test_an_unknown_name_is_refused_with_the_nearest(registry, method):
    with pytest.raises(UnknownNameError, match="unknown thing 'countr', did you mean 'counter'"):
        getattr(registry, method)("countr")


@pytest.mark.parametrize("name", ["broken", "missing"])
def test_an_entry_point_that_cannot_be_imported_says_which(registry, name):
    with pytest.raises(PluginError, match=f"the thing '{name}'"):
        registry.get(name)


def test_an_entry_point_whose_module_fails_says_which(registry, tmp_path, monkeypatch):
    (tmp_path / "no_such_module_anywhere.py").write_text("Thing = 1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PluginError, match=r"the thing 'missing' .* cannot be imported: division by zero"):
        registry.get("missing")


def test_an_entry_point_that_is_no_class_is_refused(registry):
    with pytest.raises(PluginError, match=r"the thing 'function' \(json:dumps\) is no class"):
        registry.get("function")


def test_two_packages_with_one_name_are_refused(monkeypatch):
    points = [EntryPoint("x", "a:A", "g"), EntryPoint("x", "b:B", "g")]
    monkeypatch.setattr(module, "entry_points", lambda group: points)
    with pytest.raises(DuplicateNameError, match="a:A and as b:B"):
        Registry("g", "thing").names()


def test_the_same_line_seen_twice_is_no_conflict(monkeypatch):
    points = [EntryPoint("x", "a:A", "g"), EntryPoint("x", "a:A", "g")]
    monkeypatch.setattr(module, "entry_points", lambda group: points)
    assert Registry("g", "thing").names() == ["x"]
