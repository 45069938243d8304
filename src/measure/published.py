"""Published figures of the paper's models."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from src.structures import Size

_FILE = Path(__file__).with_name("published.json")


@dataclass(frozen=True)
class PublishedModel:
    """One row of the paper's tables (sources in ``published.json``).

    Scores are in percent, ``gflops`` the average per frame (a multiply-add counts 1), ``params_m`` in millions, ``fps`` on the
    authors' GPU. ``per_frame`` are figures of the segmentor on every frame, ``mpvss`` those with propagation; ``note`` states
    doubts about the figures.
    """

    experiment: str
    size: Size
    key_interval: int
    per_frame: Mapping[str, float]
    mpvss: Mapping[str, float]
    note: str | None


@cache
def published_models() -> dict[str, PublishedModel]:
    """Return the twelve models of the paper by experiment, in the paper's order."""
    models = json.loads(_FILE.read_text(encoding="utf-8"))["models"]
    return {row["experiment"]: PublishedModel(**{**row, "size": tuple(row["size"])}) for row in models}


def deviation_percent(ours: float, theirs: float) -> float:
    """Compute the deviation of our figure from the published one, in percent of it; positive: ours is higher."""
    return 100 * (ours / theirs - 1)
