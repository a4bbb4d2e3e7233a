"""From a preset, a file, `--set` and flags to one `RunConfig`.

Presets lie in a `presets.toml` beside each agent's module:

```toml
[presets.default]                             # settings of the run
eval_every = 5000
[presets.default.agent]                       # keyword arguments of the algorithm
learning_rate = 1e-3
policy_kwargs = { net_arch = [256, 256] }
action_noise = { kind = "normal", sigma = 0.1 }
[presets.default.envs."Hopper-v5".agent]      # what is different for one environment
learning_rate = 3e-4
```

Later layers win, table by table: preset, the preset's part for the environment, the file, `--set`, flags.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hyperrl.agent_arguments import agent_parameters
from hyperrl.config import SETTINGS, RunConfig, parse_toml, parse_value, read_toml
from hyperrl.errors import ConfigError, PluginError, unknown_name
from hyperrl.registry import agents

DEFAULT_PRESET = "default"
_LAYER_KEYS = (*SETTINGS, "description", "envs")


@dataclass(frozen=True)
class Resolved:
    """A configuration and what should be said about how it came about.

    Attributes:
        config: The merged configuration.
        notes: One sentence each about a setting that was adapted.
    """

    config: RunConfig
    notes: tuple[str, ...] = ()


def read_presets(agent: str) -> dict[str, dict[str, Any]]:
    """Return the presets of an agent by name; an agent without `presets.toml` has none.

    Args:
        agent: Name of a registered agent.

    Raises:
        UnknownNameError: There is no such agent.
        PluginError: Its package cannot be imported.
        ConfigError: Its `presets.toml` is not TOML or has no table `presets`.
    """
    module = agents.module(agent)
    try:
        spec = find_spec(module)
        if spec is not None and spec.submodule_search_locations is None:
            module = module.rpartition(".")[0]
        if not module:
            return {}
        path = files(module) / "presets.toml"
    except (ImportError, ValueError) as error:
        raise PluginError(
            f"the agent {agent!r} ({agents.location(agent)}) cannot be imported: {error}"
        ) from error
    if not path.is_file():
        return {}
    table = parse_toml(path.read_text(encoding="utf-8"), f"presets.toml of {agent}")
    presets = table.get("presets")
    if not isinstance(presets, dict) or not all(isinstance(preset, dict) for preset in presets.values()):
        raise ConfigError(f"presets.toml of {agent} must hold tables called [presets.NAME]")
    return presets


def resolve(
    agent: str,
    flags: Mapping[str, Any],
    *,
    file: Path | None = None,
    settings: Iterable[str] = (),
) -> Resolved:
    """Merge all layers into one configuration.

    Args:
        agent: Name of the agent.
        flags: Settings of the run given by flags, by name; flags that were not given are left out.
        file: A TOML file, in the form of a preset or of `run.toml`.
        settings: Texts "key=value"; a key is a setting of the run, an argument of the algorithm, or dotted.

    Returns:
        The configuration, with notes.

    Raises:
        UnknownNameError: An agent, preset or key is unknown.
        ConfigError: A layer cannot be read, contradicts the command, or has a wrong value.
    """
    parameters = agent_parameters(agents.get(agent))
    from_file = _layer(agent, read_toml(file), str(file)) if file is not None else {}
    given: dict[str, Any] = {}
    for text in settings:
        given = merge(given, _setting(agent, text, parameters))
    asked = merge(merge(from_file, given), flags)

    name = asked.get("preset", DEFAULT_PRESET)
    preset = _preset(agent, name)
    per_env = preset.pop("envs", {})
    base = _layer(agent, preset, f"preset {name!r} of {agent}")
    env = asked.get("env", base.get("env"))
    override = _layer(agent, per_env.get(env, {}), f"preset {name!r} of {agent} for {env}")
    merged = merge(merge(merge(base, override), asked), {"agent": agent, "preset": name})
    if env is None:
        raise ConfigError("no environment was given, for example --env HalfCheetah-v5")
    return _shorten_warmup(RunConfig.from_mapping(merged), asked)


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with the values of `over`, merging tables within.

    A table that says another ``kind`` than the weaker one does takes its place: options are those of a kind.

    Args:
        base: The weaker layer.
        over: The stronger layer.
    """
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping) and not _of_other_kind(old, value):
            value = merge(old, value)
        merged[key] = value
    return merged


def _of_other_kind(base: Mapping[str, Any], over: Mapping[str, Any]) -> bool:
    return "kind" in base and "kind" in over and bool(base["kind"] != over["kind"])


def _preset(agent: str, name: object) -> dict[str, Any]:
    presets = read_presets(agent)
    if not isinstance(name, str):
        raise ConfigError(f"preset must be a name, got {name!r}")
    if name == DEFAULT_PRESET:
        return dict(presets.get(name, {}))
    if name not in presets:
        raise unknown_name(f"preset of {agent}", name, {*presets, DEFAULT_PRESET})
    return dict(presets[name])


def _layer(agent: str, table: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return the table with its `[agent]` part under `agent_kwargs`, and keys checked."""
    layer = dict(table)
    for key in layer:
        if key in _LAYER_KEYS:
            continue
        if key in agent_parameters(agents.get(agent)):
            raise ConfigError(
                f"{key} in {source} is an argument of {agent}: put it into the table [agent] there"
            )
        raise unknown_name(f"setting in {source}", key, SETTINGS)
    layer.pop("description", None)
    if "envs" in layer:
        raise ConfigError(f"{source} cannot hold parts for environments, only a preset can")
    named = layer.pop("agent", agent)
    if isinstance(named, Mapping):
        layer["agent_kwargs"] = merge(layer.get("agent_kwargs", {}), named)
    elif named != agent:
        raise ConfigError(f"{source} is for the agent {named!r}, but {agent!r} was asked for")
    return layer


def _setting(agent: str, text: str, parameters: Mapping[str, inspect.Parameter]) -> dict[str, Any]:
    key, equals, value_text = text.partition("=")
    path = key.strip().split(".")
    if not equals or not all(path):
        raise ConfigError(f"--set takes key=value, for example --set batch_size=128, got {text!r}")
    value = parse_value(value_text.strip())
    if path[0] == "agent":
        path[0] = "agent_kwargs"
    if path == ["agent_kwargs"]:
        raise ConfigError(
            f"--set takes one argument of the agent, for example agent.gamma=0.98, got {text!r}"
        )
    if path[0] not in SETTINGS:
        if path[0] not in parameters:
            raise unknown_name(f"setting of {agent}", path[0], {*SETTINGS, *parameters})
        path.insert(0, "agent_kwargs")
    for part in reversed(path):
        value = {part: value}
    table: dict[str, Any] = value
    return table


def _shorten_warmup(config: RunConfig, asked: Mapping[str, Any]) -> Resolved:
    """Lower a preset's `learning_starts` that would fill a short run, which would then learn nothing."""
    starts = config.agent_kwargs.get("learning_starts")
    own = "learning_starts" in asked.get("agent_kwargs", {})
    if own or not isinstance(starts, int) or starts < config.steps:
        return Resolved(config)
    shorter = config.steps // 10
    table = {name: getattr(config, name) for name in SETTINGS}
    table["agent_kwargs"] = merge(config.agent_kwargs, {"learning_starts": shorter})
    note = f"learning_starts is {shorter}, not the preset's {starts}: the run has only {config.steps} steps"
    return Resolved(RunConfig.from_mapping(table), (note,))
