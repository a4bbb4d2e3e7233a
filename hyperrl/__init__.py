"""Hypernetworks in reinforcement learning, on Stable-Baselines3.

The names below are loaded when first used: `import hyperrl` alone loads neither torch nor MuJoCo.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hyperrl.adapt import adapt as adapt
    from hyperrl.compare import compare as compare
    from hyperrl.config import RunConfig as RunConfig
    from hyperrl.context import ContextParam as ContextParam
    from hyperrl.context import ContextSpace as ContextSpace
    from hyperrl.context import Splits as Splits
    from hyperrl.context import make_splits as make_splits
    from hyperrl.errors import HyperRLError as HyperRLError
    from hyperrl.evaluate import evaluate as evaluate
    from hyperrl.evaluate import evaluate_zero_shot as evaluate_zero_shot
    from hyperrl.export import export as export
    from hyperrl.loading import load_agent as load_agent
    from hyperrl.nets import Generated as Generated
    from hyperrl.nets import HyperNet as HyperNet
    from hyperrl.nets import TargetMLP as TargetMLP
    from hyperrl.nets import TargetSpec as TargetSpec
    from hyperrl.plain_policy import PlainPolicy as PlainPolicy
    from hyperrl.run import Run as Run
    from hyperrl.run import RunFolder as RunFolder
    from hyperrl.sb3 import HyperCriticConfig as HyperCriticConfig
    from hyperrl.sb3.plain import specialise as specialise
    from hyperrl.sb3.seeds import SeedStack as SeedStack
    from hyperrl.train import restore_agent as restore_agent
    from hyperrl.train import resume as resume
    from hyperrl.train import train as train
    from hyperrl_agents.compiled_ppo import CompiledPPO as CompiledPPO
    from hyperrl_agents.compiled_sac import CompiledSAC as CompiledSAC
    from hyperrl_agents.compiled_td3 import CompiledTD3 as CompiledTD3
    from hyperrl_agents.context_ppo import ContextPPO as ContextPPO
    from hyperrl_agents.context_sac import ContextSAC as ContextSAC
    from hyperrl_agents.context_td3 import ContextTD3 as ContextTD3
    from hyperrl_agents.hyper_maml import HyperMAML as HyperMAML
    from hyperrl_agents.hyper_pearl import HyperPEARL as HyperPEARL
    from hyperrl_agents.hyper_ppo import HyperPPO as HyperPPO
    from hyperrl_agents.hyper_sac import HyperSAC as HyperSAC
    from hyperrl_agents.hyper_td3 import HyperTD3 as HyperTD3
    from hyperrl_agents.hyper_zero import HyperZero as HyperZero
    from hyperrl_agents.recurrent_hyper import RecurrentHyper as RecurrentHyper

    __version__: str

_HOMES = {
    "CompiledPPO": "hyperrl_agents.compiled_ppo",
    "CompiledSAC": "hyperrl_agents.compiled_sac",
    "CompiledTD3": "hyperrl_agents.compiled_td3",
    "ContextPPO": "hyperrl_agents.context_ppo",
    "ContextParam": "hyperrl.context",
    "ContextSAC": "hyperrl_agents.context_sac",
    "ContextSpace": "hyperrl.context",
    "ContextTD3": "hyperrl_agents.context_td3",
    "Generated": "hyperrl.nets",
    "HyperCriticConfig": "hyperrl.sb3",
    "HyperMAML": "hyperrl_agents.hyper_maml",
    "HyperNet": "hyperrl.nets",
    "HyperPEARL": "hyperrl_agents.hyper_pearl",
    "HyperPPO": "hyperrl_agents.hyper_ppo",
    "HyperRLError": "hyperrl.errors",
    "HyperSAC": "hyperrl_agents.hyper_sac",
    "HyperTD3": "hyperrl_agents.hyper_td3",
    "HyperZero": "hyperrl_agents.hyper_zero",
    "PlainPolicy": "hyperrl.plain_policy",
    "RecurrentHyper": "hyperrl_agents.recurrent_hyper",
    "Run": "hyperrl.run",
    "RunConfig": "hyperrl.config",
    "RunFolder": "hyperrl.run",
    "SeedStack": "hyperrl.sb3.seeds",
    "Splits": "hyperrl.context",
    "TargetMLP": "hyperrl.nets",
    "TargetSpec": "hyperrl.nets",
    "adapt": "hyperrl.adapt",
    "compare": "hyperrl.compare",
    "evaluate": "hyperrl.evaluate",
    "evaluate_zero_shot": "hyperrl.evaluate",
    "export": "hyperrl.export",
    "load_agent": "hyperrl.loading",
    "make_splits": "hyperrl.context",
    "restore_agent": "hyperrl.train",
    "resume": "hyperrl.train",
    "specialise": "hyperrl.sb3.plain",
    "train": "hyperrl.train",
}

__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> Any:
    """Load a public name from its module when it is first used (PEP 562)."""
    if name == "__version__":
        from importlib.metadata import version

        return version("hyperrl")
    if name not in _HOMES:
        raise AttributeError(f"module 'hyperrl' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted({*globals(), *__all__})


class _Facade(ModuleType):
    """Keeps `hyperrl.train` the function: the import of a submodule would put the module in its place."""

    def __setattr__(self, name: str, value: object) -> None:
        if name in _HOMES and isinstance(value, ModuleType):
            return
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Facade
