"""HyperZero and what it is compared with: which networks there are, and what they learn."""

from __future__ import annotations

from dataclasses import dataclass

from hyperrl.errors import unknown_name


@dataclass(frozen=True)
class Method:
    """One way to learn a policy of contexts from solved tasks.

    Attributes:
        kind: The hypernetwork kind, see `hyperrl_agents.hyper_zero.networks.Shape`.
        critic: Whether a value function is learned, too.
        td: Whether with the TD term.
        objective: "regression"; "meta" (MAML); or "inferred" (PEARL), which never sees the context.
        summary: What it is, in a few words.
    """

    kind: str
    critic: bool
    td: bool
    objective: str
    summary: str

    @property
    def infers(self) -> bool:
        """Whether the task is inferred from transitions."""
        return self.objective == "inferred"


METHODS = {
    "hyperzero": Method("mlp", True, True, "regression", "generated policy and value function, TD term"),
    "hyperzero_no_td": Method("mlp", True, False, "regression", "the same without the TD term"),
    "hyperzero_no_q": Method("mlp", False, False, "regression", "generated policy alone"),
    "context": Method("concat", False, False, "regression", "policy of state and context embedding"),
    "uvfa": Method("concat", True, False, "regression", "the same with a value function beside it"),
    "uvfa_td": Method("concat", True, True, "regression", "the same with the TD term besides"),
    "maml": Method("concat", False, False, "meta", "policy of state and context that can be adapted"),
    "pearl": Method("concat", False, False, "inferred", "policy of state and a latent inferred from (s, a)"),
}
"""The methods by name: those that Rezaei-Shoshtari et al. (AAAI 2023) compare, and their ablations."""


def find_method(name: str) -> Method:
    """Return a method by name.

    Args:
        name: One of `METHODS`.

    Raises:
        UnknownNameError: There is none of this name.
    """
    if name not in METHODS:
        raise unknown_name("method of zero-shot learning", str(name), METHODS)
    return METHODS[name]
