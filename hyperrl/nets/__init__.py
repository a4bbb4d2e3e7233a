"""Hypernetworks: a condition goes in, the weights of a small target network come out. Knows nothing of RL."""

from hyperrl.nets.cache import GenerationCache
from hyperrl.nets.contraction import CONTRACTIONS, Contraction
from hyperrl.nets.encoder_chain import ENCODERS, Chain, make_encoder
from hyperrl.nets.encoders import (
    RMS,
    CosSin,
    DirectionLogNorm,
    EmbeddingTable,
    Encoder,
    Identity,
    RunningNorm,
)
from hyperrl.nets.generated import Generated, GeneratedWeight
from hyperrl.nets.grouping import apply_grouped
from hyperrl.nets.hypernet import HyperNet
from hyperrl.nets.init import INITS, InitConfig
from hyperrl.nets.kinds.base import Kind
from hyperrl.nets.spec import LayerSpec, TargetSpec, TensorSpec
from hyperrl.nets.target import TargetMLP, VmapTarget

__all__ = [
    "CONTRACTIONS",
    "ENCODERS",
    "INITS",
    "RMS",
    "Chain",
    "Contraction",
    "CosSin",
    "DirectionLogNorm",
    "EmbeddingTable",
    "Encoder",
    "Generated",
    "GeneratedWeight",
    "GenerationCache",
    "HyperNet",
    "Identity",
    "InitConfig",
    "Kind",
    "LayerSpec",
    "RunningNorm",
    "TargetMLP",
    "TargetSpec",
    "TensorSpec",
    "VmapTarget",
    "apply_grouped",
    "make_encoder",
]
