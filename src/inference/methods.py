"""Methods of a comparison table: one trained segmentor, with different flows for its non-key frames."""

from collections.abc import Callable

from src.models.flow import FLOW_ESTIMATORS, FlowEstimator
from src.models.propagator import Propagator
from src.ops.warp import WarpGrid

EVERY_FRAME = ("per_frame", "videomt")
"""Methods that segment every frame: independently, and from the queries of the frame before."""


def method_names() -> tuple[str, ...]:
    """List ``EVERY_FRAME`` and the methods of all registered flow estimators (``FlowEstimator.method_names``)."""
    names = [name for kind in FLOW_ESTIMATORS.values() for name in kind.method_names]
    return (*EVERY_FRAME, *dict.fromkeys(names))


def available_methods(propagator: Propagator) -> tuple[str, ...]:
    """List the methods that a network can run: those of its own flow estimator, and all that need no trained weights."""
    names = {"per_frame", *(["videomt"] if propagator.segmentor.is_recurrent else [])}.union(
        propagator.flow.method_names,
        *(kind.method_names for kind in FLOW_ESTIMATORS.values() if kind.training_free),
    )
    return tuple(name for name in method_names() if name in names)


def with_method(propagator: Propagator, method: str) -> Propagator:
    """Combine the segmentor with the flow of a named method; weights are shared, not copied.

    ``per_frame`` (for key interval 1) and ``copy`` have no motion, ``videomt`` (for key interval 1) is VidEoMT frame by frame,
    ``dis`` is training-free optical flow, ``dis_fine`` a more accurate and slower one, ``pixel`` one learned flow for all
    segments, ``query`` the paper's flow per segment, and ``correlation`` the light estimator.

    Args:
        propagator: trained network.
        method: one of :func:`method_names`.

    Raises:
        ValueError: if the method is unknown, or needs a segmentor or flow network that ``propagator`` does not have.
    """
    if method not in method_names():
        raise ValueError(f"method is {method!r}; expected one of {', '.join(method_names())}")
    if method == "videomt" and not propagator.segmentor.is_recurrent:
        found = type(propagator.segmentor).__name__
        raise ValueError(f"method 'videomt' needs a VidEoMT checkpoint; this one has a {found}; choose per_frame")
    name = "copy" if method in EVERY_FRAME else method
    own = propagator.flow
    if name in own.method_names:
        flow = own.for_method(name)
    else:
        kinds = [kind for kind in FLOW_ESTIMATORS.values() if name in kind.method_names]
        free: Callable[..., FlowEstimator] | None = next((kind for kind in kinds if kind.training_free), None)
        if free is None:
            expected = " or ".join(kind.__name__ for kind in kinds)
            raise ValueError(f"method {method!r} needs a checkpoint with a {expected}; this one has a {type(own).__name__}")
        flow = free(size_divisor=propagator.segmentor.size_divisor).for_method(name)
    # The reference's grid shifts masks even at zero flow: only weights trained on it may use it.
    grid: WarpGrid = "exact" if flow.training_free else propagator.warp_grid
    device = next(propagator.parameters()).device
    return Propagator(propagator.segmentor, flow, grid, recurrent=method == "videomt").to(device).eval()


def own_methods(propagator: Propagator) -> dict[str, str]:
    """Map row names, distinct for different kinds of networks, to the methods of this network's trained flow.

    Raises:
        ValueError: if the network has no trained flow.
    """
    own = propagator.flow
    if own.training_free or not own.method_names:
        expected = ", ".join(kind.__name__ for kind in FLOW_ESTIMATORS.values() if kind.method_names and not kind.training_free)
        raise ValueError(f"the network's flow is a {type(own).__name__}; expected one of {expected}")
    return {own.for_method(name).method_names[-1]: name for name in own.method_names}
