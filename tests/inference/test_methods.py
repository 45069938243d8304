"""Laws of methods: weights are shared, and the registry of flow estimators defines the methods."""

from typing import ClassVar

import pytest
import torch

from src.inference.methods import available_methods, method_names, own_methods, with_method
from src.models.flow import FLOW_ESTIMATORS, CopyFlow, DISFlow, PixelBranch, PixelFlow, QueryFlow
from tests.inference.tiny import frames, tiny_propagator

QUERY_METHODS = ("per_frame", "copy", "dis", "dis_fine", "pixel", "query")
KINDS = {"per_frame": CopyFlow, "copy": CopyFlow, "dis": DISFlow, "dis_fine": DISFlow, "pixel": PixelBranch, "query": QueryFlow}


@pytest.mark.parametrize("method", QUERY_METHODS)
def test_a_query_checkpoint_runs_its_methods_with_shared_weights(method: str) -> None:
    propagator = tiny_propagator("query")
    other = with_method(propagator, method)
    assert type(other.flow) is KINDS[method] and other.segmentor is propagator.segmentor and not other.training
    own = {id(parameter) for parameter in propagator.parameters()}
    assert {id(parameter) for parameter in other.parameters()} <= own


def test_pixel_is_the_pixel_flow_of_the_query_network() -> None:
    propagator = tiny_propagator("query")
    key, nonkey = (frame[None] for frame in frames(2))
    with torch.inference_mode():
        _, whole = propagator(key, nonkey)
        _, pixel = with_method(propagator, "pixel")(key, nonkey)
    assert torch.equal(pixel.segment_flow[:, 0], whole.pixel_flows[-1])
    pixel_network = tiny_propagator("pixel")
    assert isinstance(pixel_network.flow, PixelFlow) and with_method(pixel_network, "pixel").flow is pixel_network.flow


def test_a_correlation_checkpoint_has_one_flow_for_all_segments() -> None:
    propagator = tiny_propagator("correlation")
    assert with_method(propagator, "correlation").flow is propagator.flow
    with pytest.raises(ValueError, match=r"'query' needs .* has a CorrelationFlow"):
        with_method(propagator, "query")


def test_only_trained_flows_use_the_references_grid() -> None:
    propagator = tiny_propagator("query")
    propagator.warp_grid = "reference"
    grids = {method: with_method(propagator, method).warp_grid for method in QUERY_METHODS}
    assert grids == {
        "per_frame": "exact",
        "copy": "exact",
        "dis": "exact",
        "dis_fine": "exact",
        "pixel": "reference",
        "query": "reference",
    }


@pytest.mark.parametrize(
    "flow, method", [("copy", "query"), ("copy", "pixel"), ("dis", "pixel"), ("pixel", "query"), ("query", "correlation")]
)
def test_a_method_without_its_network_is_refused(flow: str, method: str) -> None:
    with pytest.raises(
        ValueError, match=f"method '{method}' needs .* this one has a {type(tiny_propagator(flow).flow).__name__}"
    ):
        with_method(tiny_propagator(flow), method)


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(
        ValueError, match="method is 'raft'; expected one of per_frame, videomt, copy, dis, dis_fine, pixel, query, correlation"
    ):
        with_method(tiny_propagator("copy"), "raft")


@pytest.mark.parametrize("flow, names", [("query", ["pixel", "query"]), ("pixel", ["pixel"]), ("correlation", ["correlation"])])
def test_a_network_offers_its_own_flows(flow: str, names: list[str]) -> None:
    propagator = tiny_propagator(flow)
    found = own_methods(propagator)
    assert list(found) == names
    # The last one is the whole estimator.
    assert with_method(propagator, found[names[-1]]).flow is propagator.flow
    for nothing in ("copy", "dis"):
        with pytest.raises(ValueError, match="expected one of PixelFlow, QueryFlow, CorrelationFlow"):
            own_methods(tiny_propagator(nothing))


def test_a_registered_flow_class_is_a_method_without_any_other_edit(monkeypatch: pytest.MonkeyPatch) -> None:
    class Still(CopyFlow):
        method_names: ClassVar[tuple[str, ...]] = ("still",)

    class Learned(PixelFlow):
        method_names: ClassVar[tuple[str, ...]] = ("pixel", "learned")

    monkeypatch.setitem(FLOW_ESTIMATORS, "still", Still)
    monkeypatch.setitem(FLOW_ESTIMATORS, "learned", Learned)
    propagator = tiny_propagator("query")
    assert method_names()[-2:] == ("still", "learned")
    assert available_methods(propagator) == (*QUERY_METHODS, "still")
    assert isinstance(with_method(propagator, "still").flow, Still)
    with pytest.raises(ValueError, match="'learned' needs a checkpoint with a Learned; this one has a QueryFlow"):
        with_method(propagator, "learned")
