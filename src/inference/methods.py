"""The methods of a comparison table: one trained segmentor, different ways to the frames between its key frames."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from src.models.flow import CopyFlow, CorrelationFlow, DISFlow, FlowEstimator, QueryFlow, pixel_branch
from src.models.propagator import Propagator
from src.ops.warp import WarpGrid

METHODS = ("per_frame", "copy", "dis", "pixel", "query", "correlation")


def with_method(propagator: Propagator, method: str) -> Propagator:
    """The same segmentor with the flow of a named method; weights are shared, not copied.

    ``per_frame`` and ``copy`` have no motion (the first is meant for key interval 1), ``dis`` is training-free optical flow,
    ``pixel`` one learned flow for all segments (the network's own, or the part of another that knows of no segments),
    ``query`` the paper's and ``correlation`` the light one, each with a flow for every segment.

    Args:
        propagator: the trained network.
        method: one of :data:`METHODS`.

    Raises:
        ValueError: if the method is unknown, or needs a flow network that ``propagator`` does not have.
    """
    makers: Mapping[str, Callable[[Propagator], FlowEstimator]] = {
        "per_frame": _copy, "copy": _copy, "dis": _dis, "pixel": _pixel, "query": _query,
        "correlation": _correlation,
    }  # fmt: skip
    if method not in makers:
        raise ValueError(f"unknown method {method!r}; known are {', '.join(METHODS)}")
    flow = makers[method](propagator)
    # The reference's grid reads a motion that is not there even for zero flow: only weights trained on it may use it.
    grid: WarpGrid = propagator.warp_grid if method in ("pixel", "query") else "exact"
    device = next(propagator.parameters()).device
    return Propagator(propagator.segmentor, flow, grid).to(device).eval()


def own_methods(propagator: Propagator) -> dict[str, str]:
    """The methods that read this network's own flow, by names that tell networks of different kinds apart.

    Raises:
        ValueError: if it has none that was trained.
    """
    own = propagator.flow
    if isinstance(own, QueryFlow):
        return {"pixel": "pixel", "query": "query"}
    if isinstance(own, CorrelationFlow):
        return {"correlation_pixel": "pixel", "correlation": "correlation"}
    # Refuses what knows no motion of the image, or was not trained.
    pixel_branch(own)
    return {"pixel": "pixel"}


def _copy(propagator: Propagator) -> FlowEstimator:
    return CopyFlow(size_divisor=propagator.segmentor.size_divisor)


def _dis(propagator: Propagator) -> FlowEstimator:
    own = propagator.flow
    return own if isinstance(own, DISFlow) else DISFlow(size_divisor=propagator.segmentor.size_divisor)


def _pixel(propagator: Propagator) -> FlowEstimator:
    try:
        return pixel_branch(propagator.flow)
    except ValueError as error:
        raise ValueError(f"method 'pixel' needs a checkpoint with a learned flow: {error}") from error


def _query(propagator: Propagator) -> FlowEstimator:
    if isinstance(propagator.flow, QueryFlow):
        return propagator.flow
    raise ValueError(f"method 'query' needs a checkpoint with a QueryFlow; this one has a {type(propagator.flow).__name__}")


def _correlation(propagator: Propagator) -> FlowEstimator:
    if isinstance(propagator.flow, CorrelationFlow):
        return propagator.flow
    raise ValueError(
        f"method 'correlation' needs a checkpoint with a CorrelationFlow; this one has a {type(propagator.flow).__name__}"
    )
