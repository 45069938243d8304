"""Laws of timelines: sums do not depend on the bins, whose number is bounded."""

import numpy as np
import pytest

from src.visualization.report.timeline import MAX_BINS, FrameFigures, Timeline


def figures(number: int, **changes: object) -> FrameFigures:
    shares = np.array([0.25, 0.75]) if number % 2 else np.array([1.0, 0.0])
    values: dict[str, object] = {
        "start": number / 25, "end": (number + 1) / 25, "shares": shares, "reason": None, "seconds": 0.01, "flicker": 0.1,
    }  # fmt: skip
    return FrameFigures(**(values | changes))  # type: ignore[arg-type]


def filled(frames: int) -> Timeline:
    timeline = Timeline(2)
    for number in range(frames):
        key = {"reason": "first" if number == 0 else "interval", "seconds": 0.1} if number % 5 == 0 else {}
        timeline.add(figures(number, **key, **({"flicker": None} if number == 0 else {})))
    return timeline


def test_a_short_video_has_a_bin_for_each_frame() -> None:
    timeline = filled(7)
    assert timeline.bin_frames == 1 and timeline.edges == pytest.approx(np.arange(8) / 25)
    assert timeline.shares.tolist()[:2] == [[1, 0], [0.25, 0.75]]
    assert {reason: counts.tolist() for reason, counts in timeline.keys().items()} == {
        "first": [1, 0, 0, 0, 0, 0, 0], "interval": [0, 0, 0, 0, 0, 1, 0],
    }  # fmt: skip
    flicker = timeline.means("flicker")
    assert np.isnan(flicker.per_bin[0]) and flicker.per_bin[1:] == pytest.approx(0.1) and flicker.overall == pytest.approx(0.1)
    assert timeline.means("key").median == pytest.approx(0.1) and timeline.means("other").median == pytest.approx(0.01)
    assert timeline.means("confidence").overall is None and timeline.means("confidence").median is None


@pytest.mark.parametrize("frames", [2 * MAX_BINS, 2 * MAX_BINS + 1, 5000])
def test_a_long_video_has_as_many_bins_and_the_same_sums(frames: int) -> None:
    timeline = filled(frames)
    bins = len(timeline.shares)
    assert bins <= 2 * MAX_BINS and timeline.frames == frames and len(timeline.edges) == bins + 1
    assert timeline.edges[0] == 0 and timeline.edges[-1] == pytest.approx(frames / 25)
    assert np.allclose(np.diff(timeline.edges[:-1]), timeline.bin_frames / 25)
    assert timeline.shares.sum(1) == pytest.approx(1) and timeline.mean_shares == pytest.approx([0.625, 0.375], abs=1e-3)
    assert sum(int(counts.sum()) for counts in timeline.keys().values()) == -(-frames // 5)
    assert timeline.means("flicker").count.sum() == frames - 1 and timeline.flicker_peaks[1:] == pytest.approx(0.1)
    assert timeline.means("key").total.sum() == pytest.approx(0.1 * -(-frames // 5))


def test_a_peak_survives_merging() -> None:
    timeline = Timeline(2)
    for number in range(4000):
        timeline.add(figures(number, flicker=0.9 if number == 1234 else 0.1))
    at = 1234 // timeline.bin_frames
    assert timeline.flicker_peaks[at] == 0.9 and np.delete(timeline.flicker_peaks, at) == pytest.approx(0.1)
