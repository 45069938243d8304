"""Clip segmentors by name."""

import pytest

from src.models.clip_segmentors.registry import build_clip_segmentor
from tests.models.clip_segmentors.tiny import tiny_mrcfa


def test_the_name_selects_the_class() -> None:
    network = tiny_mrcfa()
    assert build_clip_segmentor(network.config()).config() == network.config()


@pytest.mark.parametrize("name", ["tv3s", 3, None])
def test_unknown_names_are_refused(name: object) -> None:
    with pytest.raises(ValueError, match="expected one of mrcfa"):
        build_clip_segmentor({"model_type": name})
