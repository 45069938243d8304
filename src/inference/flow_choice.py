"""Selection of the flow that labels a video, and names and colors of the classes."""

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from src.inference.methods import EVERY_FRAME, available_methods, method_names, with_method
from src.models.flow import CopyFlow, DISFlow
from src.models.propagator import Propagator
from src.visualization.class_colors import class_palette
from src.visualization.palette import Color, PaletteChoice


def with_flow(
    propagator: Propagator, metadata: Mapping[str, Any], flow: str = "auto", dis_short_side: int | None = None
) -> Propagator:
    """Combine the segmentor with the flow that is to propagate its masks.

    Args:
        propagator: network as loaded.
        metadata: metadata of its checkpoint; the flow of ``stage: segmentor`` is untrained.
        flow: ``own`` for the checkpoint's flow, a method of :func:`src.inference.methods.with_method`, or ``auto`` for the
            checkpoint's flow if it is trained, else ``dis``.
        dis_short_side: shorter side of the images that DIS reads, pixels; ``None`` for the size of the frames.

    Raises:
        ValueError: if the flow is unknown, or the checkpoint does not have it.
    """
    known = ("auto", "own", *(name for name in method_names() if name != "per_frame"))
    if flow not in known:
        raise ValueError(f"flow is {flow!r}; expected one of {', '.join(known)}")
    if flow == "auto":
        untrained = isinstance(propagator.flow, CopyFlow) or metadata.get("stage") == "segmentor"
        flow = "dis" if untrained else "own"
    if flow == "own":
        return propagator
    if flow == "dis":
        segmentor = propagator.segmentor
        estimator = DISFlow(short_side=dis_short_side, size_divisor=segmentor.size_divisor)
        if isinstance(propagator.flow, DISFlow):
            estimator.fusion = propagator.flow.fusion
        return Propagator(segmentor, estimator).to(next(segmentor.parameters()).device).eval()
    return with_method(propagator, flow)


def selectable_flows(
    propagator: Propagator, metadata: Mapping[str, Any], first: str = "auto", dis_short_side: int | None = None
) -> dict[str, Propagator]:
    """Combine the segmentor with every flow that its checkpoint supports, by method name; the flow ``first`` comes first.

    The arguments are those of :func:`with_flow`.

    Raises:
        ValueError: if ``first`` is unknown, or carries no masks.
    """
    if first in EVERY_FRAME:
        raise ValueError(f"flow is {first!r}, which segments every frame; expected one that carries masks, or auto")
    chosen = with_flow(propagator, metadata, first, dis_short_side)
    names = [name for name in available_methods(propagator) if name not in EVERY_FRAME]
    flows = {name: with_flow(propagator, metadata, name, dis_short_side) for name in names}
    chosen_name = next((name for name, other in flows.items() if type(other.flow) is type(chosen.flow)), "own")
    return {chosen_name: chosen} | {name: other for name, other in flows.items() if name != chosen_name}


def names_and_colors(
    metadata: Mapping[str, Any], num_classes: int, choice: PaletteChoice = "names"
) -> tuple[Sequence[str], Sequence[Color]]:
    """Return K class names of the checkpoint, numbers if it has none, and K colors.

    Colors that the user chose in ``classes.yaml`` count with both choices, other colors of the checkpoint only with ``dataset``.

    Raises:
        ValueError: if the checkpoint has a different number of names or colors than classes, or the choice is unknown.
    """
    if choice not in get_args(PaletteChoice):
        raise ValueError(f"palette is {choice!r}; expected {' or '.join(get_args(PaletteChoice))}")
    classes = tuple(str(name) for name in metadata.get("classes") or (f"class {k}" for k in range(num_classes)))
    saved = [(int(r), int(g), int(b)) for r, g, b in metadata.get("palette") or ()]
    for kind, found in (("class names", classes), ("colors", saved)):
        if found and len(found) != num_classes:
            raise ValueError(f"the checkpoint has {len(found)} {kind}; expected {num_classes}, one per class")
    counts = choice == "dataset" or metadata.get("palette_chosen")
    return classes, class_palette(classes, saved if counts else (), choice)


def saved_colors(classes: Sequence[str], chosen: Sequence[Color | None]) -> dict[str, Any]:
    """Return the metadata of a model from which :func:`names_and_colors` restores the colors of its data."""
    palette = [list(color) for color in class_palette(classes, chosen, "dataset")]
    return {"classes": list(classes), "palette": palette, "palette_chosen": any(color is not None for color in chosen)}
