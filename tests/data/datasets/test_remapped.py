"""Law: every pixel keeps its class under the new name, and classes without a new name are ignored."""

import pytest
import torch

from src.data.datasets.remapped import RemappedClasses
from src.data.datasets.vspw import VSPW
from src.data.pairs.dataset import PairDataset
from src.data.pairs.sampling import SingleFrameSampling
from src.structures import IGNORE_INDEX
from tests.data.fake_layouts import label, write_image, write_label


@pytest.fixture
def data(tmp_path):
    """One frame whose label has the classes a, b, c and void, eight columns each."""
    write_image(tmp_path / "data/v/origin/0.jpg", size=(7, 32))
    write_label(tmp_path / "data/v/mask/0.png", label(1, 2, 3, 0, size=(7, 32)))
    (tmp_path / "train.txt").write_text("v")
    return VSPW(tmp_path, "train", num_classes=3, classes=["a", "b", "c"])


def test_labels_are_translated_and_the_rest_ignored(data):
    before = data.read_label(0, 0)[0, ::8].tolist()
    assert before == [0, 1, 2, IGNORE_INDEX]
    renamed = RemappedClasses(data, ["x", "y"], {"a": "y", "b": "y"})
    assert renamed.read_label(0, 0)[0, ::8].tolist() == [1, 1, IGNORE_INDEX, IGNORE_INDEX]
    assert RemappedClasses(data, ["x", "y"], {"c": "x"}).read_label(0, 0)[0, ::8].tolist() == [IGNORE_INDEX] * 2 + [
        0,
        IGNORE_INDEX,
    ]
    assert (renamed.num_classes, renamed.classes) == (2, ("x", "y"))


def test_images_and_clips_are_the_same(data):
    renamed = RemappedClasses(data, ["x"], {"a": "x"})
    assert renamed.read_image(0, 0).equal(data.read_image(0, 0)) and renamed.fps == data.fps
    renamed.clips = renamed.clips[:0]
    assert data.clips == []


def test_pairs_have_translated_labels(data):
    renamed = RemappedClasses(data, ["x"], {"a": "x"})
    sample = PairDataset(renamed, SingleFrameSampling(), num_samples=1, seed=0)[0].sample
    assert sample.nonkey_label.dtype == torch.uint8 and sample.nonkey_label.equal(renamed.read_label(0, 0).byte())
    assert sample.nonkey_image.equal(data.read_image(0, 0))


def test_unknown_class_names_are_refused(data):
    with pytest.raises(ValueError, match="no such class: d, z; the data has a, b, c, to be named x"):
        RemappedClasses(data, ["x"], {"a": "x", "d": "x", "b": "z"})
    with pytest.raises(ValueError, match="none is mapped"):
        RemappedClasses(data, ["x"], {})
