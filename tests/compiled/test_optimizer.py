import pytest
import torch
from torch import nn

from hyperrl.compiled import AdamState, adam_step, polyak_step, tensors_of, why_not
from hyperrl.errors import ConfigError


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("fused", [True, False])
def test_steps_are_those_of_torchs_adam(fused, weight_decay):
    theirs, ours = network(), network()
    options = {"lr": 1e-2, "betas": (0.8, 0.9), "eps": 1e-6, "weight_decay": weight_decay, "fused": fused}
    expected = torch.optim.Adam(theirs.parameters(), **options)
    optimizer = torch.optim.Adam(ours.parameters(), **options)
    state = AdamState.of(optimizer, dict(ours.named_parameters()))
    inputs = torch.randn(7, 3, dtype=torch.float64)
    for _ in range(5):
        expected.zero_grad()
        theirs(inputs).square().sum().backward()
        gradients = {name: parameter.grad for name, parameter in theirs.named_parameters()}
        state.step(tensors_of(ours), gradients, state.tensors())
        state.count()
        expected.step()
    # The learning rate is a float32 tensor, as it is on a GPU.
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-9)
    for name, value in expected.state_dict()["state"].items():
        found = optimizer.state_dict()["state"][name]
        assert found["step"] == value["step"] == 5
        torch.testing.assert_close(found["exp_avg"], value["exp_avg"], rtol=1e-5, atol=1e-9)
        torch.testing.assert_close(found["exp_avg_sq"], value["exp_avg_sq"], rtol=1e-5, atol=1e-9)


def test_a_step_in_closed_form():
    parameters = {"w": torch.tensor([1.0, -2.0])}
    gradients = {"w": torch.tensor([3.0, -0.5])}
    state = ({"w": torch.zeros(2)}, {"w": torch.zeros(2)}, torch.zeros(()), torch.tensor(0.1))
    adam_step(parameters, gradients, state, (0.9, 0.999), 0.0, 0.0)
    # The first step of Adam without epsilon is the learning rate times the sign of the gradient.
    torch.testing.assert_close(parameters["w"], torch.tensor([0.9, -1.9]))
    torch.testing.assert_close(state[0]["w"], torch.tensor([0.3, -0.05]))
    torch.testing.assert_close(state[1]["w"], torch.tensor([9e-3, 0.25e-3]))


def test_the_optimiser_can_go_on_where_compiled_steps_ended():
    theirs, ours = network(), network()
    expected = torch.optim.Adam(theirs.parameters(), lr=1e-2)
    optimizer = torch.optim.Adam(ours.parameters(), lr=1e-2)
    inputs = torch.randn(7, 3, dtype=torch.float64)
    for compiled in (True, False, True):
        for net, opt in ((theirs, expected), (ours, optimizer)):
            opt.zero_grad()
            net(inputs).square().sum().backward()
            if net is theirs or not compiled:
                opt.step()
                continue
            state = AdamState.of(opt, dict(net.named_parameters()))
            gradients = {name: parameter.grad for name, parameter in net.named_parameters()}
            state.step(tensors_of(net), gradients, state.tensors())
            state.count()
    # The last gradients were computed at parameters that already differ by rounding.
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_the_learning_rate_is_read_again():
    net = network()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.5)
    state = AdamState.of(optimizer, dict(net.named_parameters()))
    optimizer.param_groups[0]["lr"] = 0.25
    state.refresh(optimizer)
    assert state.tensors()[3].item() == 0.25


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: torch.optim.SGD(p, lr=0.1), "need torch.optim.Adam, got SGD"),
        (lambda p: torch.optim.AdamW(p), "got AdamW"),
        (lambda p: torch.optim.Adam(p, amsgrad=True), "with amsgrad"),
        (lambda p: torch.optim.Adam(p, maximize=True), "with maximize"),
        (
            lambda p: torch.optim.Adam([{"params": p[:1]}, {"params": p[1:]}]),
            "one group of parameters, got 2",
        ),
    ],
)
def test_other_optimisers_are_refused_by_name(make, words):
    net = network()
    optimizer = make(list(net.parameters()))
    assert words in why_not(optimizer)
    with pytest.raises(ConfigError, match=words):
        AdamState.of(optimizer, dict(net.named_parameters()))


def test_polyak_averaging_in_closed_form():
    online, target = {"w": torch.tensor([1.0, 3.0])}, {"w": torch.tensor([0.0, 1.0])}
    kept = target["w"]
    polyak_step(online, target, 0.25)
    torch.testing.assert_close(kept, torch.tensor([0.25, 1.5]))
