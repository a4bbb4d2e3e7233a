"""The settings of one run: a frozen dataclass that is checked when built and written as `run.toml`.

`RunConfig` checks what can be checked without loading anything: types, ranges, the device's name. Names of
agents, environments and arguments are checked by `hyperrl.agent_arguments` and `hyperrl.environments` before
a run starts.
"""

from __future__ import annotations

import copy
import dataclasses
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w

from hyperrl.errors import ConfigError, unknown_name
from hyperrl.ranges import above, whole

DEVICES = ("auto", "cpu", "cuda")
SIMULATORS = ("mujoco", "warp")

_RANGES = {
    "steps": whole(1, 1e12),
    "seed": whole(0, 2**32 - 1),
    "n_envs": whole(1, 65_536),
    "seeds": whole(1, 1024),
    "threads": whole(1, 1024),
    "eval_episodes": whole(1, 100_000),
    "eval_every": whole(0, 1e12),
    "checkpoint_every": whole(0, 1e12),
    "step_timeout": above(0, 1e6),
    "worker_restarts": whole(0, 1e6),
}
_NORMALIZE_RANGES = {"clip_obs": above(0, 1e6), "clip_reward": above(0, 1e6), "epsilon": above(0, 1)}
_TEXTS = ("agent", "env", "preset", "policy", "device", "simulator")


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a training run.

    Attributes:
        agent: Name of the agent, as `hyperrl list agents` shows it.
        env: Gymnasium id of the environment.
        steps: Environment steps to train for, over all environments together.
        seed: Seed of the whole run, from 0 to 2^32 - 1.
        out: Run folder; None chooses one under `$HYPERRL_RUNS` or `./runs`.
        preset: Name of the preset that the settings came from.
        device: Where the networks run: "auto", "cpu" or "cuda".
        n_envs: Number of environments stepped together, of each seed.
        seeds: How many seeds are trained at once in one process, from `seed` on; see `hyperrl.SeedStack`.
            Steps and evaluations are those of each seed.
        threads: CPU threads of torch, at most as many as there are cores. One is the fastest for small
            networks, and holds whatever OMP_NUM_THREADS says. With several seeds they step environments.
        policy: "MlpPolicy", "CnnPolicy" or "MultiInputPolicy".
        eval_episodes: Episodes of each evaluation.
        eval_every: Steps between evaluations while training; 0 evaluates before and after only.
        checkpoint_every: Steps between checkpoints; 0 writes them at the best evaluations
            and at the end only.
        native: Whether MuJoCo tasks of `hyperrl_envs.native` are simulated without Gymnasium's environments
            around them, which gives the same bits in less time; others are not affected.
        simulator: What the training's environments are simulated by: "mujoco", or "warp" for MuJoCo Warp on
            `device`, for the tasks of `hyperrl_envs.warp`. Evaluations are always simulated by MuJoCo.
        normalize: Whether Stable-Baselines3's `VecNormalize` normalises observations and rewards by running
            statistics: true, false, or a table of its arguments `norm_obs`, `norm_reward`, `clip_obs`,
            `clip_reward` and `epsilon`. Its discount is the agent's.
        workers: Whether each environment runs in a process of its own.
        step_timeout: Seconds that an environment in a process of its own may take to answer.
        worker_restarts: How many processes that died or hang may be replaced, each at the cost of an episode.
        env_kwargs: Keyword arguments of the environment.
        agent_kwargs: Keyword arguments of the algorithm, as TOML values.

    Raises:
        ConfigError: A value has the wrong type or is out of range.
        UnknownNameError: The device is none of the three, or the simulator none of the two.
    """

    agent: str
    env: str
    steps: int = 1_000_000
    seed: int = 0
    out: str | None = None
    preset: str = "default"
    device: str = "auto"
    n_envs: int = 1
    seeds: int = 1
    threads: int = 1
    policy: str = "MlpPolicy"
    eval_episodes: int = 5
    eval_every: int = 10_000
    checkpoint_every: int = 10_000
    native: bool = True
    simulator: str = "mujoco"
    normalize: bool | Mapping[str, Any] = False
    workers: bool = False
    step_timeout: float = 60.0
    worker_restarts: int = 0
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    agent_kwargs: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check types and ranges, and take copies of the mappings."""
        for name in _TEXTS:
            value = getattr(self, name)
            if not isinstance(value, str) or not value:
                raise ConfigError(f"{name} must be a name, got {value!r}")
        if self.device not in DEVICES:
            raise unknown_name("device", self.device, DEVICES)
        for name, allowed in _RANGES.items():
            object.__setattr__(self, name, allowed.check(name, getattr(self, name)))
        _check_flags(self)
        _check_simulator(self)
        object.__setattr__(self, "normalize", _checked_normalize(self.normalize))
        _check_seeds(self)
        if self.out is not None and (not isinstance(self.out, str) or not self.out):
            raise ConfigError(f"out must be the path of a folder, got {self.out!r}")
        if self.out is not None and not _is_path(self.out):
            raise ConfigError(f"out must be a path in UTF-8 without null characters, got {self.out!r}")
        for name in ("env_kwargs", "agent_kwargs"):
            value = getattr(self, name)
            if not isinstance(value, Mapping):
                raise ConfigError(f"{name} must be a table of names and values, got {value!r}")
            object.__setattr__(self, name, _toml_values(name, value))

    def to_toml(self) -> str:
        """Return the settings as TOML; `from_toml` gives back an equal configuration."""
        table = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return tomli_w.dumps({name: value for name, value in table.items() if value is not None})

    @classmethod
    def from_toml(cls, text: str, source: str = "run.toml") -> RunConfig:
        """Build a configuration from TOML.

        Args:
            text: The TOML text, in the form of `to_toml`.
            source: What the text is called in messages.

        Raises:
            ConfigError: The text is not TOML, or a value is wrong.
            UnknownNameError: A key is unknown.
        """
        return cls.from_mapping(parse_toml(text, source))

    @classmethod
    def from_mapping(cls, table: Mapping[str, Any]) -> RunConfig:
        """Build a configuration from names and values.

        Args:
            table: Values by the names of the attributes.

        Raises:
            ConfigError: The agent or the environment is missing, or a value is wrong.
            UnknownNameError: A key is unknown.
        """
        for key in table:
            if key not in SETTINGS:
                raise unknown_name("setting", key, SETTINGS)
        for key in ("agent", "env"):
            if key not in table:
                raise ConfigError(f"the {key} is missing, for example {key} = {_EXAMPLES[key]!r}")
        return cls(**table)


SETTINGS = tuple(f.name for f in dataclasses.fields(RunConfig))
_EXAMPLES = {"agent": "hyper-td3", "env": "HalfCheetah-v5"}


def parse_toml(text: str, source: str) -> dict[str, Any]:
    """Parse TOML text.

    Args:
        text: The text.
        source: What the text is called in messages.

    Raises:
        ConfigError: The text is not TOML.
    """
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{source} is not valid TOML: {error}") from error


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Args:
        path: The file.

    Raises:
        ConfigError: The file cannot be read or is not TOML.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"the configuration file {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"the configuration file {path} is not UTF-8 text") from error
    return parse_toml(text, str(path))


def parse_value(text: str) -> Any:
    """Read one value from a command line: a TOML value, or a bare word, which stands for itself.

    Args:
        text: For example "0.1", "true", "[64, 64]", "'auto'" or plainly "auto".

    Raises:
        ConfigError: The text is neither.
    """
    try:
        table = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError):
        table = {}
    if table.keys() == {"value"}:
        return table["value"]
    if re.fullmatch(r"[^\W\d][\w./:-]*", text):
        return text
    raise ConfigError(f"{text!r} is neither a TOML value nor a single word")


def _check_seeds(config: RunConfig) -> None:
    if config.seed + config.seeds > 2**32:
        raise ConfigError(f"{config.seeds} seeds from {config.seed} on go beyond {2**32 - 1}: begin lower")
    if config.seeds > 1 and config.normalize is not False:
        raise ConfigError(
            "several seeds at once cannot be normalised: leave normalize out, or train one seed"
        )
    together = config.n_envs * config.seeds
    if together > 65_536:
        raise ConfigError(f"n_envs times seeds must be at most 65,536 environments, got {together:,}")


def _check_flags(config: RunConfig) -> None:
    for name in ("native", "workers"):
        if not isinstance(getattr(config, name), bool):
            raise ConfigError(f"{name} must be true or false, got {getattr(config, name)!r}")


def _checked_normalize(value: Any) -> bool | dict[str, Any]:
    """Return the settings of the normaliser, checked."""
    if isinstance(value, bool):
        return value
    if not isinstance(value, Mapping):
        raise ConfigError(
            f"normalize must be true, false or a table such as {{norm_obs = true, norm_reward = false}}, got "
            f"{value!r}"
        )
    checked: dict[str, Any] = {}
    for name, setting in value.items():
        if name in ("norm_obs", "norm_reward"):
            if not isinstance(setting, bool):
                raise ConfigError(f"normalize.{name} must be true or false, got {setting!r}")
            checked[name] = setting
        elif name in _NORMALIZE_RANGES:
            checked[name] = _NORMALIZE_RANGES[name].check(f"normalize.{name}", setting)
        else:
            valid = ("norm_obs", "norm_reward", *_NORMALIZE_RANGES)
            raise unknown_name("setting of normalize", str(name), valid)
    return checked


def _check_simulator(config: RunConfig) -> None:
    if config.simulator not in SIMULATORS:
        raise unknown_name("simulator", config.simulator, SIMULATORS)
    if config.simulator == "warp" and config.workers:
        raise ConfigError("workers = true contradicts simulator = 'warp', which steps environments together")


def _is_path(text: str) -> bool:
    try:
        return b"\0" not in text.encode("utf-8")
    except UnicodeEncodeError:
        return False


def _toml_values(name: str, value: Any) -> Any:
    """Return a deep copy, refusing what TOML cannot hold, so that `run.toml` always says all of it."""
    if isinstance(value, Mapping):
        return {_key(name, key): _toml_values(f"{name}.{key}", item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_toml_values(f"{name}[{index}]", item) for index, item in enumerate(value)]
    if isinstance(value, (bool, int, float, str)):
        return copy.copy(value)
    raise ConfigError(
        f"{name} must be a TOML value (a number, text, true or false, a list or a table), got {value!r}"
    )


def _key(name: str, key: object) -> str:
    if not isinstance(key, str):
        raise ConfigError(f"the keys of {name} must be text, got {key!r}")
    return key
