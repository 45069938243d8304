"""Laws of the machine's floor."""

import pytest
import torch

from src.measure.counting import count_multiply_adds
from src.measure.latency import time_in_turn
from src.measure.roofline import floor_ms, matrix_product


def test_the_product_does_as_many_multiply_adds_as_it_says() -> None:
    product = matrix_product(torch.device("cpu"))
    assert count_multiply_adds(product.call)[1] == product.multiply_adds


def test_the_floor_of_a_product_is_its_own_time() -> None:
    product = matrix_product(torch.device("cpu"))
    milliseconds = time_in_turn({"product": product.call}, 1, 3)["product"].median_ms
    assert floor_ms(product.multiply_adds / 1e9, product.rate(milliseconds)) == pytest.approx(milliseconds)
