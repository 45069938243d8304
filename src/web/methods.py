"""Methods that the demo page predicts with, their explanations, and the second one of a comparison."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import get_args

from src.inference.scheduling.scheduler import KeyFrameScheduler
from src.inference.streaming import Mode
from src.web.schedules import Schedule

MODES = {
    "offline": "A frame is labelled from the key frames on both sides of it, one interval late.",
    "online": "A frame is labelled at once, from the key frame before it, as of a camera.",
}
"""Explanation of each mode."""

FLOWS = {
    "own": "The checkpoint's own flow.",
    "query": "The paper's flow: one for every segment, from the segmentor's queries.",
    "pixel": "One learned flow for all segments (FlowNetS).",
    "correlation": "A light learned flow from local correlations.",
    "dis": "Optical flow without training (DIS), on small images.",
    "dis_fine": "Optical flow without training, up to the full resolution: more accurate, slower.",
    "videomt": "VidEoMT on every frame, from the queries of the frame before; online only.",
    "copy": "No motion: the masks of the key frame stay in place.",
}
"""Explanation of each flow."""

NO_COMPARISON, EVERY_FRAME = "nothing", "every frame segmented"
_KINDS = ("flow", "mode", "key frames")


@dataclass(frozen=True)
class Method:
    """Choices of one prediction; without a schedule, every frame is segmented by itself."""

    schedule: Schedule | None
    setting: float
    mode: Mode
    flow: str

    def __str__(self) -> str:
        if self.schedule is None:
            return EVERY_FRAME
        return f"{self.schedule.title} ({self.setting:g}), {self.mode}, flow {self.flow}"

    def scheduler(self) -> KeyFrameScheduler | None:
        """Return a new scheduler; ``None``: every frame is segmented by itself."""
        return None if self.schedule is None else self.schedule.scheduler(self.setting)


def comparisons(schedules: Sequence[Schedule], flows: Mapping[str, str]) -> dict[str, str]:
    """Return the names of all second methods, each with an explanation. All but the first two change one choice of the first.

    ``flows`` are the offered flows with their explanations.
    """
    options = (flows, MODES, {schedule.title: schedule.about for schedule in schedules})
    several = {
        f"{kind}: {name}": f"The same with another {kind}. {about}"
        for kind, texts in zip(_KINDS, options, strict=True)
        if len(texts) > 1
        for name, about in texts.items()
    }
    return {
        NO_COMPARISON: "A second method is predicted too and shown beside the first.",
        EVERY_FRAME: "No propagation: the segmentor reads every frame, which costs most.",
    } | several


def second_method(name: str, first: Method, schedules: Sequence[Schedule], settings: Mapping[str, float]) -> Method | None:
    """Return the method of a comparison, ``None`` for none.

    Args:
        name: one of :func:`comparisons`.
        first: the method to compare with.
        schedules: offered schedules.
        settings: setting of each schedule by its title.

    Raises:
        ValueError: if both methods are the same.
    """
    if name == NO_COMPARISON:
        return None
    if name == EVERY_FRAME:
        return Method(None, 1, "online", first.flow)
    kind, _, choice = name.partition(": ")
    if kind == "flow":
        second = replace(first, flow=choice)
    elif kind == "mode":
        second = replace(first, mode=next(mode for mode in get_args(Mode) if mode == choice))
    else:
        schedule = next(schedule for schedule in schedules if schedule.title == choice)
        second = replace(first, schedule=schedule, setting=settings[choice])
    if second == first:
        raise ValueError(f"the second method is the first ({first}); choose another to compare with")
    return second
