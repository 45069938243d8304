import numpy as np
import pytest

from src.files.images.label_png import UNDEFINED, LabelFormat, describe_values
from src.structures import IGNORE_INDEX

VALUES = {0: IGNORE_INDEX, 1: 0, 2: 1, 7: 2}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
def test_values_become_classes_and_all_others_undefined(dtype):
    largest = np.iinfo(dtype).max
    raw = np.array([[0, 1, 2], [7, 3, 8], [largest, 200, 2]], dtype)
    assert LabelFormat(VALUES).to_classes(raw).tolist() == [[255, 0, 1], [2, UNDEFINED, UNDEFINED], [UNDEFINED, UNDEFINED, 1]]


def test_a_negative_value_is_no_class():
    assert LabelFormat({0: 5}).to_classes(np.array([[-1, 0]], np.int32)).tolist() == [[UNDEFINED, 5]]


@pytest.mark.parametrize("number", [-1, UNDEFINED, 300])
def test_a_class_equal_to_a_reserved_byte_is_refused(number):
    with pytest.raises(ValueError, match=rf"label value 7 is class {number}; expected 0\.\.253 or 255"):
        LabelFormat({0: 253, 1: IGNORE_INDEX, 7: number})


def test_the_values_in_words():
    assert describe_values(VALUES) == "0..2, 7 (ignored: 0)"
    assert describe_values({3: 0}) == "3 (ignored: none)"
