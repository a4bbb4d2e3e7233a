"""What can be named on the command line: agents, hypernetwork kinds, exporters, found as entry points.

A package adds one by an entry point in the group, for example

```toml
[project.entry-points."hyperrl.agents"]
my-agent = "my_package.my_agent:MyAgent"
```

and a script by `agents.register("my-agent", MyAgent)`. Nothing is imported until `get` asks for it. This
module uses the standard library only: every other module of the project may import it.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from hyperrl.errors import DuplicateNameError, PluginError, unknown_name


class Registry:
    """The classes of one group by name, from entry points and from `register`.

    Args:
        group: The entry-point group, for example "hyperrl.agents".
        noun: What one member is called in messages, for example "agent".
    """

    def __init__(self, group: str, noun: str) -> None:
        self.group = group
        self.noun = noun
        self._registered: dict[str, type[Any]] = {}
        self._found: dict[str, EntryPoint] | None = None

    def register(self, name: str, member: type[Any]) -> None:
        """Add a class under a name.

        Args:
            name: The name, as it will be given on the command line.
            member: The class.

        Raises:
            DuplicateNameError: The name already stands for something else.
        """
        if self._registered.get(name) is member:
            return
        if name in self._registered or name in self._entry_points():
            raise DuplicateNameError(
                f"the {self.noun} {name!r} is already registered as {self.location(name)}"
            )
        self._registered[name] = member

    def names(self) -> list[str]:
        """Return all names in alphabetical order, importing nothing."""
        return sorted({*self._registered, *self._entry_points()})

    def get(self, name: str) -> type[Any]:
        """Return the class of that name, importing its module where needed.

        Args:
            name: A name that `names` lists.

        Raises:
            UnknownNameError: There is no such name; the sentence has the nearest one.
            PluginError: The entry point cannot be imported, or is no class.
        """
        if name in self._registered:
            return self._registered[name]
        entry = self._entry(name)
        try:
            loaded = entry.load()
        except Exception as error:  # The import runs code of another package, which can fail in any way.
            raise PluginError(
                f"the {self.noun} {name!r} ({entry.value}) cannot be imported: {error}"
            ) from error
        if not isinstance(loaded, type):
            raise PluginError(f"the {self.noun} {name!r} ({entry.value}) is no class")
        return loaded

    def module(self, name: str) -> str:
        """Return the dotted name of the module that defines the member, importing nothing.

        Args:
            name: A name that `names` lists.

        Raises:
            UnknownNameError: There is no such name.
        """
        if name in self._registered:
            return self._registered[name].__module__
        return self._entry(name).module

    def location(self, name: str) -> str:
        """Return "module:Class" of the member, importing nothing.

        Args:
            name: A name that `names` lists.

        Raises:
            UnknownNameError: There is no such name.
        """
        if name in self._registered:
            member = self._registered[name]
            return f"{member.__module__}:{member.__qualname__}"
        return self._entry(name).value

    def _entry(self, name: str) -> EntryPoint:
        found = self._entry_points()
        if name not in found:
            raise unknown_name(self.noun, name, self.names())
        return found[name]

    def _entry_points(self) -> dict[str, EntryPoint]:
        if self._found is None:
            found: dict[str, EntryPoint] = {}
            for entry in entry_points(group=self.group):
                other = found.setdefault(entry.name, entry)
                # The same line can be seen twice, from a wheel and from a checkout on the path.
                if other.value != entry.value:
                    raise DuplicateNameError(
                        f"two installed packages register the {self.noun} {entry.name!r}, as {other.value} "
                        f"and as {entry.value}: uninstall one of them"
                    )
            self._found = found
        return self._found


agents = Registry("hyperrl.agents", "agent")
kinds = Registry("hyperrl.hypernets", "hypernetwork kind")
exporters = Registry("hyperrl.exporters", "exporter")
generators = Registry("hyperrl.generators", "generator of weights")
