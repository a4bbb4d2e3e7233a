import pytest
import torch

from hyperrl.compiled import PRECISIONS, matmul_precision


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_process_keeps_its_own_precision(precision):
    assert torch.get_float32_matmul_precision() == "highest"
    with matmul_precision(precision):
        assert torch.get_float32_matmul_precision() == precision
        with matmul_precision("highest"):
            assert torch.get_float32_matmul_precision() == "highest"
        assert torch.get_float32_matmul_precision() == precision
    assert torch.get_float32_matmul_precision() == "highest"


def test_it_is_put_back_after_an_error():
    with pytest.raises(ZeroDivisionError), matmul_precision("medium"):
        raise ZeroDivisionError
    assert torch.get_float32_matmul_precision() == "highest"
