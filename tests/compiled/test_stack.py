import copy

import torch
from torch import nn

from hyperrl.compiled import Optimised, StackedTensors


def parts(count=3):
    torch.manual_seed(0)
    nets = [nn.Linear(2, 3) for _ in range(count)]
    optimizers = [torch.optim.Adam(net.parameters(), lr=0.1) for net in nets]
    return nets, optimizers


def stacked(nets, optimizers):
    changes = []
    tensors = StackedTensors(
        [{"net": net} for net in nets],
        [{"adam": Optimised.network(o, n)} for o, n in zip(optimizers, nets, strict=True)],
        lambda: changes.append(1),
    )
    tensors.refresh()
    return tensors, changes


def step_all(tensors, gradients):
    """One step of Adam for every agent."""
    adam = tensors.adam["adam"]

    def step(net, state, grads):
        adam.step(net, grads, state)
        return net["bias"]

    torch.func.vmap(step, in_dims=(0, (0, 0, 0, None), 0))(tensors.networks["net"], adam.tensors(), gradients)
    adam.count()


def test_a_change_of_the_stack_is_one_of_each_agent_and_back():
    nets, optimizers = parts()
    before = [net.weight.detach().clone() for net in nets]
    tensors, _ = stacked(nets, optimizers)
    assert tensors.networks["net"]["weight"].shape == (3, 3, 2)
    for index, net in enumerate(nets):
        assert torch.equal(net.weight, before[index])
    tensors.networks["net"]["weight"].add_(1)
    assert torch.equal(nets[2].weight, before[2] + 1)
    with torch.no_grad():
        nets[1].bias.fill_(7)
    assert tensors.networks["net"]["bias"][1].tolist() == [7, 7, 7]
    assert tensors.networks["net"]["bias"][0].tolist() != [7, 7, 7]


def test_steps_on_the_stack_are_adams_steps():
    nets, optimizers = parts()
    references, reference_optimizers = parts()
    tensors, _ = stacked(nets, optimizers)
    for step in range(4):
        gradients = {
            name: torch.randn(value.shape, generator=torch.Generator().manual_seed(step))
            for name, value in tensors.networks["net"].items()
        }
        step_all(tensors, gradients)
        for index, (net, optimizer) in enumerate(zip(references, reference_optimizers, strict=True)):
            for name, parameter in net.named_parameters():
                parameter.grad = gradients[name][index].clone()
            optimizer.step()
    tensors.write_back()
    for net, reference, own, theirs in zip(nets, references, optimizers, reference_optimizers, strict=True):
        torch.testing.assert_close(net.weight, reference.weight)
        for found, expected in zip(own.state.values(), theirs.state.values(), strict=True):
            assert float(found["step"]) == 4 == float(expected["step"])
            torch.testing.assert_close(found["exp_avg_sq"], expected["exp_avg_sq"])
    # And Adam itself can go on from there.
    optimizers[0].step()


def test_what_was_replaced_is_stacked_again():
    nets, optimizers = parts()
    tensors, changes = stacked(nets, optimizers)
    tensors.refresh()
    assert len(changes) == 1
    nets[1].weight.data = torch.zeros(3, 2)
    tensors.refresh()
    assert len(changes) == 2
    assert not tensors.networks["net"]["weight"][1].any()
    loaded = optimizers[2].state_dict()
    loaded["state"][0]["exp_avg"] = torch.ones(3, 2)
    optimizers[2].load_state_dict(loaded)
    tensors.refresh()
    assert len(changes) == 3
    assert tensors.adam["adam"].moments["weight"][2].all()


def test_learning_rates_are_taken_from_the_first_and_told_to_all():
    nets, optimizers = parts()
    tensors, _ = stacked(nets, optimizers)
    optimizers[0].param_groups[0]["lr"] = 0.5
    tensors.refresh()
    assert tensors.adam["adam"].learning_rate.item() == 0.5
    tensors.write_back()
    assert [o.param_groups[0]["lr"] for o in optimizers] == [0.5] * 3


def test_each_agent_has_made_its_own_number_of_steps():
    nets, optimizers = parts()
    references, reference_optimizers = parts()
    for net, optimizer in ((nets[1], optimizers[1]), (references[1], reference_optimizers[1])):
        for parameter in net.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
    tensors, _ = stacked(nets, optimizers)
    adam = tensors.adam["adam"]
    assert adam.counted.tolist() == [0, 1, 0]
    gradients = {name: torch.full_like(value, 0.5) for name, value in tensors.networks["net"].items()}
    step_all(tensors, gradients)
    for net, reference, optimizer in zip(nets, references, reference_optimizers, strict=True):
        for parameter in reference.parameters():
            parameter.grad = torch.full_like(parameter, 0.5)
        optimizer.step()
        torch.testing.assert_close(net.weight, reference.weight)
    tensors.write_back()
    assert [float(o.state[n.bias]["step"]) for n, o in zip(nets, optimizers, strict=True)] == [1, 2, 1]


def test_loading_one_agent_leaves_the_counts_of_the_others():
    nets, optimizers = parts()
    tensors, _ = stacked(nets, optimizers)
    for _ in range(5):
        tensors.adam["adam"].count()
    tensors.write_back()
    # A copy: torch would let both optimisers count with the same tensors.
    optimizers[0].load_state_dict(copy.deepcopy(optimizers[1].state_dict()))
    for _ in range(2):
        tensors.adam["adam"].count()
    tensors.refresh()
    assert tensors.adam["adam"].counted.tolist() == [5, 7, 7]
