"""Laws of the roofline."""

import torch

from src.measure.counting import count_multiply_adds
from src.measure.roofline import matrix_product


def test_the_product_does_the_multiply_adds_that_it_states() -> None:
    product = matrix_product(torch.device("cpu"))
    assert count_multiply_adds(product.call)[1] == product.multiply_adds
