"""Policies of NumPy arrays: what is left of an agent when its condition is fixed."""

from hyperrl.plain_policy.activations import ACTIVATIONS
from hyperrl.plain_policy.head import ActionHead, bounded
from hyperrl.plain_policy.layer import DenseLayer
from hyperrl.plain_policy.normaliser import ObservationNormaliser
from hyperrl.plain_policy.policy import PlainPolicy

__all__ = ["ACTIVATIONS", "ActionHead", "DenseLayer", "ObservationNormaliser", "PlainPolicy", "bounded"]
