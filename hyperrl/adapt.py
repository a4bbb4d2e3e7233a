"""The verb `adapt`: what an agent earns in tasks that it never saw, after 0, 1, 2, ... episodes there."""

from __future__ import annotations

from hyperrl.evaluation.adaptation.evaluating import Adapted, evaluate_adaptation, report_adaptation
from hyperrl.evaluation.adaptation.specialising import AdaptedPolicy, adapted_policy

__all__ = ["Adapted", "AdaptedPolicy", "adapt", "adapted_policy", "report_adaptation"]

adapt = evaluate_adaptation
