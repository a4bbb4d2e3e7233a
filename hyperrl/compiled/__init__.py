"""Whole gradient steps as single compiled graphs; torch only, knows nothing of reinforcement learning."""

from hyperrl.compiled.graph import CompiledFunction, NotCompiledError
from hyperrl.compiled.modules import Buffers, MethodOf, call, changes_beside_learning, tensors_of
from hyperrl.compiled.optimizer import AdamState, adam_step, constants_of, polyak_step, why_not
from hyperrl.compiled.precision import PRECISIONS, matmul_precision
from hyperrl.compiled.stack import StackedTensors
from hyperrl.compiled.toolchain import CompileWarning
from hyperrl.compiled.trained import Optimised, TrainedTensors

__all__ = [
    "PRECISIONS",
    "AdamState",
    "Buffers",
    "CompileWarning",
    "CompiledFunction",
    "MethodOf",
    "NotCompiledError",
    "Optimised",
    "StackedTensors",
    "TrainedTensors",
    "adam_step",
    "call",
    "changes_beside_learning",
    "constants_of",
    "matmul_precision",
    "polyak_step",
    "tensors_of",
    "why_not",
]
