"""The model that labels a video: the flow to propagate with, names and colors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from src.data.datasets.palette import distinct_palette
from src.inference.methods import METHODS, with_method
from src.models.flow import CopyFlow, DISFlow
from src.models.propagator import Propagator
from src.visualization.palette import Color

FLOWS = ("auto", "own", *(method for method in METHODS if method != "per_frame"))


def with_flow(
    propagator: Propagator, metadata: Mapping[str, Any], flow: str = "auto", dis_short_side: int | None = None
) -> Propagator:
    """The same segmentor with the flow that shall propagate its masks.

    Args:
        propagator: as loaded.
        metadata: what its checkpoint says; the flow of ``stage: segmentor`` was never trained.
        flow: ``own``: the checkpoint's; ``dis``, ``copy``, ``pixel``, ``query``: see :func:`src.inference.methods.with_method`;
            ``auto``: the checkpoint's where it is a trained one, else ``dis``.
        dis_short_side: the size that DIS works at, pixels; ``None``: that of its images.

    Raises:
        ValueError: if there is no such flow, or the checkpoint has none of that kind.
    """
    if flow not in FLOWS:
        raise ValueError(f"flow is {flow!r}, expected one of {', '.join(FLOWS)}")
    if flow == "auto":
        untrained = isinstance(propagator.flow, CopyFlow) or metadata.get("stage") == "segmentor"
        flow = "dis" if untrained else "own"
    if flow == "own":
        return propagator
    if flow == "dis":
        segmentor = propagator.segmentor
        estimator = DISFlow(short_side=dis_short_side, size_divisor=segmentor.size_divisor)
        return Propagator(segmentor, estimator).to(next(segmentor.parameters()).device).eval()
    return with_method(propagator, flow)


def selectable_flows(
    propagator: Propagator, metadata: Mapping[str, Any], first: str = "auto", dis_short_side: int | None = None
) -> dict[str, Propagator]:
    """The same segmentor with every flow that its checkpoint can have, by the names of :data:`FLOWS` but ``auto`` and ``own``.

    Args:
        propagator: as loaded.
        metadata: see :func:`with_flow`.
        first: which flow comes first; see :func:`with_flow`.
        dis_short_side: see :func:`with_flow`.

    Raises:
        ValueError: see :func:`with_flow`.
    """
    chosen = with_flow(propagator, metadata, first, dis_short_side)
    found: dict[str, Propagator] = {}
    for name in FLOWS[2:]:
        try:
            found[name] = with_flow(propagator, metadata, name, dis_short_side)
        except ValueError:
            # Networks that the checkpoint has not got.
            continue
    named = next((name for name, other in found.items() if type(other.flow) is type(chosen.flow)), "own")
    return {named: chosen} | {name: other for name, other in found.items() if name != named}


def names_and_colors(metadata: Mapping[str, Any], num_classes: int) -> tuple[Sequence[str], Sequence[Color]]:
    """K class names and K colors: the checkpoint's, or made up where it has none.

    Raises:
        ValueError: if the checkpoint names another number of classes than it has.
    """
    classes = tuple(str(name) for name in metadata.get("classes") or (f"class {k}" for k in range(num_classes)))
    palette = [(int(r), int(g), int(b)) for r, g, b in metadata.get("palette") or distinct_palette(num_classes)]
    for name, found in (("class names", classes), ("colors", palette)):
        if len(found) != num_classes:
            raise ValueError(f"the checkpoint has {num_classes} classes but {len(found)} {name}")
    return classes, palette
