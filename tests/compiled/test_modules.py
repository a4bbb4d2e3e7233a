import pytest
import torch
from torch import nn

from hyperrl.compiled import MethodOf, call, changes_beside_learning, tensors_of


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 1, bias=False)

    def forward(self, x):
        return self.layer(x)

    def doubled(self, x):
        return 2 * self.layer(x)


def test_a_module_is_called_with_other_parameters_and_keeps_its_own():
    module = Two()
    before = module.layer.weight.detach().clone()
    other = {"layer.weight": torch.tensor([[1.0, 10.0]])}
    x = torch.tensor([[2.0, 3.0]])
    assert call(module, other, x).item() == 32
    assert call(MethodOf(module, "doubled"), other, x).item() == 64
    torch.testing.assert_close(module.layer.weight, before, rtol=0, atol=0)


def test_tensors_share_memory_with_the_parameters_and_have_no_gradient():
    module = Two()
    tensors = tensors_of(module)
    tensors["layer.weight"].fill_(7)
    assert module.layer.weight.unique().item() == 7
    assert not tensors["layer.weight"].requires_grad


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (nn.Dropout(0.1), "1 is a Dropout"),
        (nn.BatchNorm1d(2), "1 is a BatchNorm1d"),
        (nn.Dropout(0.0), None),
        (nn.LayerNorm(2), None),
    ],
)
def test_what_does_more_than_compute_is_found(part, words):
    assert changes_beside_learning(nn.Sequential(nn.Linear(2, 2), part)) == words
