"""Laws of the flow choice: trained flows first, and only flows that the checkpoint supports."""

from typing import cast

import pytest

from src.inference.flow_choice import names_and_colors, saved_colors, selectable_flows, with_flow
from src.inference.methods import with_method
from src.models.flow import CopyFlow, DISFlow, PixelBranch, QueryFlow
from src.visualization.palette import PaletteChoice
from tests.inference.tiny import tiny_propagator


def test_without_class_names_classes_have_numbers() -> None:
    assert names_and_colors({}, 3)[0] == ("class 0", "class 1", "class 2")
    assert len(set(names_and_colors({}, 150)[1])) == 150


def test_names_and_colors_of_a_checkpoint_are_used_and_must_fit() -> None:
    metadata = {"classes": ["a", "b"], "palette": [[1, 2, 3], [4, 5, 6]]}
    assert names_and_colors(metadata, 2, "dataset") == (("a", "b"), ((1, 2, 3), (4, 5, 6)))
    assert names_and_colors({"classes": ["road", "car"]} | {"palette": metadata["palette"]}, 2)[1] == (
        (128, 64, 128),
        (0, 0, 142),
    )
    with pytest.raises(ValueError, match="has 2 class names; expected 3"):
        names_and_colors(metadata, 3)
    with pytest.raises(ValueError, match="palette is 'name'; expected names or dataset"):
        names_and_colors(metadata, 2, cast(PaletteChoice, "name"))


def test_colors_that_the_user_chose_come_back_with_both_palettes_and_published_ones_with_one() -> None:
    chosen = saved_colors(["road", "car"], [(1, 2, 3), None])
    assert names_and_colors(chosen, 2)[1] == names_and_colors(chosen, 2, "dataset")[1] == ((1, 2, 3), (0, 0, 142))
    camvid = saved_colors(["sky", "tree"], [])
    assert camvid["palette"] == [[128, 128, 128], [128, 128, 0]] and not camvid["palette_chosen"]
    assert names_and_colors(camvid, 2)[1] == ((70, 130, 180), (107, 142, 35))


def test_auto_takes_a_trained_flow_and_else_dis() -> None:
    query, copy = tiny_propagator("query"), tiny_propagator("copy")
    assert with_flow(query, {"stage": "propagation"}) is query is with_flow(query, {})
    assert isinstance(with_flow(query, {"stage": "segmentor"}).flow, DISFlow)
    found = with_flow(copy, {}, dis_short_side=120)
    assert isinstance(found.flow, DISFlow) and found.flow.short_side == 120 and found.segmentor is copy.segmentor


def test_every_flow_of_a_checkpoint_can_be_selected() -> None:
    query = tiny_propagator("query")
    kinds = {"own": QueryFlow, "query": QueryFlow, "pixel": PixelBranch, "copy": CopyFlow, "dis": DISFlow}
    for name, kind in kinds.items():
        found = with_flow(query, {}, name)
        assert isinstance(found.flow, kind) and found.segmentor is query.segmentor and not found.training
    with pytest.raises(ValueError, match="flow is 'raft'; expected one of auto, own, videomt, copy, dis"):
        with_flow(query, {}, "raft")
    with pytest.raises(ValueError, match="needs a checkpoint with a QueryFlow"):
        with_flow(tiny_propagator("copy"), {}, "query")


def test_the_first_selectable_flow_is_the_chosen_one_and_the_rest_are_the_checkpoints() -> None:
    query = tiny_propagator("query")
    assert list(selectable_flows(query, {})) == ["query", "copy", "dis", "dis_fine", "pixel"]
    assert list(selectable_flows(query, {}, "dis")) == ["dis", "copy", "dis_fine", "pixel", "query"]
    assert list(selectable_flows(tiny_propagator("copy"), {})) == ["dis", "copy", "dis_fine"]


@pytest.mark.parametrize("flow", ["auto", "own", "dis"])
def test_the_fusion_head_of_own_dis_flow_is_kept(flow: str) -> None:
    propagator = tiny_propagator("dis")
    propagator.flow.add_fusion_head(4)
    chosen = with_flow(propagator, {"stage": "fusion"}, flow, dis_short_side=32)
    assert isinstance(chosen.flow, DISFlow) and chosen.flow.fusion is propagator.flow.fusion is not None
    assert chosen.flow.short_side == (32 if flow == "dis" else None)
    assert with_method(propagator, "dis").flow.fusion is propagator.flow.fusion
