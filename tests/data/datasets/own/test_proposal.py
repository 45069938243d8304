"""Laws of the proposal: masks fit the proposed file, and an error names it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.data.datasets.classes_yaml import read_classes_yaml
from src.data.datasets.folder import FolderClips
from src.data.datasets.own.proposal import find_values, proposed_line, proposed_yaml
from tests.data.fake_layouts import label, write_label
from tests.data.own_layout import COLORS, write_own_data


def proposed(root: Path) -> str:
    found = find_values(root)
    assert found is not None
    return proposed_yaml(found)


@pytest.mark.parametrize("colored", [False, True])
def test_masks_fit_the_proposed_file(tmp_path: Path, colored: bool) -> None:
    write_own_data(tmp_path, ["a"], num_frames=2, colored=colored)
    with pytest.raises(FileNotFoundError, match=r"as in '.*classes: \[\{name: class_0, .*check_data\.py data=folder data\.root="):
        FolderClips(tmp_path)
    (tmp_path / "classes.yaml").write_text(proposed(tmp_path))
    data = FolderClips(tmp_path)
    assert data.classes == ("class_0", "class_1", "class_2")
    assert data.read_label(0, 1).unique().tolist() == [0, 1, 2]
    if colored:
        assert set(data.chosen_colors) == {tuple(color) for color in COLORS.tolist()}


def test_shares_and_masks_are_counted(tmp_path: Path) -> None:
    write_label(tmp_path / "masks/v/1.png", label(0, 7, 255, 0))
    write_label(tmp_path / "masks/v/2.png", label(0))
    text = proposed(tmp_path)
    assert "{name: class_0, value: 0} # 75.00 % of the pixels, in 2 masks" in text
    assert "{name: class_7, value: 7} # 12.50 % of the pixels, in 1 masks" in text
    (tmp_path / "classes.yaml").write_text(text)
    assert read_classes_yaml(tmp_path / "classes.yaml").values == {0: 0, 7: 1, 255: 255}


def test_255_beside_background_marks_the_object(tmp_path: Path) -> None:
    write_label(tmp_path / "masks/v/1.png", label(0, 255))
    (tmp_path / "classes.yaml").write_text(proposed(tmp_path))
    assert read_classes_yaml(tmp_path / "classes.yaml").values == {0: 0, 255: 1}


def test_masks_without_a_proposal_give_an_example(tmp_path: Path) -> None:
    assert find_values(tmp_path) is None and proposed_line(tmp_path) == "classes: [road, car]"
    (tmp_path / "masks/v").mkdir(parents=True)
    Image.fromarray(np.arange(300, dtype=np.uint16).reshape(15, 20)).save(tmp_path / "masks/v/1.png")
    assert find_values(tmp_path) is None
    (tmp_path / "masks/v/1.png").write_bytes(b"no image")
    assert proposed_line(tmp_path) == "classes: [road, car]"
    with pytest.raises(ValueError, match=r"1\.png"):
        find_values(tmp_path)
