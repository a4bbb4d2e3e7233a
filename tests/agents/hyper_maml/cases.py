"""Small policies of tasks in float64, and data for them."""

from __future__ import annotations

import torch

from hyperrl_agents.hyper_maml.actor import TaskActor
from hyperrl_agents.hyper_maml.batches import TaskBatch
from hyperrl_agents.hyper_maml.networks import make_network

STATES, CONTEXT, ACTIONS = 3, 2, 2
SMALL = {
    "hyper": {
        "hidden": [4],
        "trunk_hidden": [12, 16],
        "blocks": 1,
        "init": "hyperfan_in",
        "activation": "tanh",
    },
    "modular": {
        **{"hidden": [4], "trunk": "mlp", "trunk_hidden": [6], "hypernet": "modular", "modules": 3},
        **{"init": "hyperfan_in", "activation": "tanh"},
    },
    "mlp": {"hidden": [5], "activation": "tanh"},
    "concat": {"hidden": [5], "activation": "tanh", "sees_context": True},
}


def make_actor(kind="hyper", seed=0):
    """An actor of one of the kinds in `SMALL`."""
    torch.manual_seed(seed)
    name = "hyper" if kind in ("hyper", "modular") else "mlp"
    actor = TaskActor(make_network(name, STATES, CONTEXT, ACTIONS, SMALL[kind]), ACTIONS, -0.3)
    return actor.double()


def make_conditions(actor, tasks=3, seed=1):
    """What the actor sees of contexts."""
    generator = torch.Generator().manual_seed(seed)
    size = CONTEXT if actor.network.sees_context else 0
    return torch.randn(tasks, size, generator=generator, dtype=torch.float64)


def make_batch(tasks=3, rows=8, seed=2):
    """Steps of tasks, of which some are padding."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    lengths = torch.randint(rows // 2, rows + 1, (tasks, 1), generator=generator)
    mask = torch.arange(rows) < lengths
    return TaskBatch(draw(tasks, rows, STATES), draw(tasks, rows, ACTIONS), draw(tasks, rows), mask)


def one(batch, task):
    """The steps of one task, without padding."""
    return [part[task][batch.mask[task]] for part in batch[:3]]
