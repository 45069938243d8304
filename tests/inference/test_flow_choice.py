from pathlib import Path

import pytest

from src.inference.flow_choice import names_and_colors, with_flow
from src.models.flow import CopyFlow, DISFlow, PixelBranch, QueryFlow
from tests.inference.tiny import tiny_propagator, tiny_segmentor


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain Mask2Former as transformers saves it."""
    path = tmp_path_factory.mktemp("hub") / "mask2former"
    network = tiny_segmentor().network
    network.config.id2label = {0: "wall", 1: "door", 2: "floor, tiled", 3: "lamp"}
    network.config.label2id = {name: number for number, name in network.config.id2label.items()}
    network.save_pretrained(path)
    return path


def test_without_class_names_classes_have_numbers() -> None:
    assert names_and_colors({}, 3)[0] == ("class 0", "class 1", "class 2")
    assert len(set(names_and_colors({}, 150)[1])) == 150


def test_names_and_colors_of_a_checkpoint_are_used_and_must_fit() -> None:
    metadata = {"classes": ["a", "b"], "palette": [[1, 2, 3], [4, 5, 6]]}
    assert names_and_colors(metadata, 2) == (("a", "b"), [(1, 2, 3), (4, 5, 6)])
    with pytest.raises(ValueError, match="3 classes but 2 class names"):
        names_and_colors(metadata, 3)


def test_auto_takes_a_trained_flow_and_dis_where_there_is_none() -> None:
    query, copy = tiny_propagator("query"), tiny_propagator("copy")
    assert with_flow(query, {"stage": "propagation"}) is query is with_flow(query, {})
    assert isinstance(with_flow(query, {"stage": "segmentor"}).flow, DISFlow)
    found = with_flow(copy, {}, dis_short_side=120)
    assert isinstance(found.flow, DISFlow) and found.flow.short_side == 120 and found.segmentor is copy.segmentor


def test_any_flow_can_be_asked_for() -> None:
    query = tiny_propagator("query")
    kinds = {"own": QueryFlow, "query": QueryFlow, "pixel": PixelBranch, "copy": CopyFlow, "dis": DISFlow}
    for name, kind in kinds.items():
        found = with_flow(query, {}, name)
        assert isinstance(found.flow, kind) and found.segmentor is query.segmentor and not found.training
    with pytest.raises(ValueError, match="flow is 'raft', expected one of auto, own, copy, dis"):
        with_flow(query, {}, "raft")
    with pytest.raises(ValueError, match="needs a checkpoint with a QueryFlow"):
        with_flow(tiny_propagator("copy"), {}, "query")
