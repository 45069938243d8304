import cv2
import numpy as np
import pytest

from src.visualization.class_colors import distinct_palette, read_palette


@pytest.mark.parametrize(("count", "distance"), [(5, 80), (11, 45), (19, 35), (124, 15)])
def test_colors_are_far_apart_and_far_from_void(count: int, distance: float) -> None:
    colors = np.array([[(0, 0, 0), *distinct_palette(count)]], dtype=np.float32) / 255
    lab = cv2.cvtColor(colors, cv2.COLOR_RGB2LAB)[0]  # a distance of about 2 is just visible
    apart = np.linalg.norm(lab[:, None] - lab[None], axis=-1) + 1e9 * np.eye(len(lab))
    assert apart.min() > distance


def test_a_class_keeps_its_color_when_classes_are_added() -> None:
    assert distinct_palette(124)[:19] == distinct_palette(19)


@pytest.mark.parametrize("count", [0, 513])
def test_impossible_counts_are_refused(count: int) -> None:
    with pytest.raises(ValueError, match=f"num_classes is {count}"):
        distinct_palette(count)


def test_a_palette_file_keeps_its_order(tmp_path):
    (tmp_path / "palette.json").write_text('{"sky": [1, 2, 3],\n "car": [4, 5, 6]}')
    assert read_palette(tmp_path / "palette.json") == ((1, 2, 3), (4, 5, 6))
