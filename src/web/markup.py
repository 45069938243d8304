"""HTML and Markdown of the demo page: timeline of key frames, cost table, messages."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from src.inference.video.progress import progress_text
from src.structures import KeyReason
from src.web.predictor import ClipPrediction, KeyFrameMark
from src.web.run_cost import CostRow

REASONS: dict[KeyReason | None, tuple[str, str]] = {
    "first": ("first frame", "#6b7280"),
    "interval": ("key interval", "#2563eb"),
    "change": ("accumulated change", "#0d9488"),
    "cut": ("scene cut", "#dc2626"),
    "max_interval": ("longest interval", "#7c3aed"),
    None: ("key frame", "#2563eb"),
}
"""Name and color of each reason."""

_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600)
_MAX_TICKS = 12

FOLLOW_THE_VIDEO = """
const video = () => document.querySelector('#prediction video');
setInterval(() => {
  const cursor = element.querySelector('.cursor'), shown = video();
  if (cursor && shown && shown.duration) cursor.style.left = 100 * shown.currentTime / shown.duration + '%';
}, 50);
element.addEventListener('click', event => {
  const track = element.querySelector('.track'), shown = video();
  if (!track || !shown || !shown.duration) return;
  const mark = event.target.closest('.mark'), box = track.getBoundingClientRect();
  const share = (event.clientX - box.left) / box.width;
  if (mark) shown.currentTime = parseFloat(mark.dataset.seconds) + 0.001;
  else if (share >= 0 && share <= 1) shown.currentTime = share * shown.duration;
});
"""
"""JavaScript of the timeline: the cursor follows the video, and a click seeks."""

TIMELINE_CSS = """
.track {position: relative; height: 30px; margin: 4px 8px 2px; border-radius: 4px; background: #e5e7eb; cursor: pointer}
.mark {position: absolute; top: 0; width: 3px; margin-left: -1px; height: 100%; border-radius: 1px}
.cursor {position: absolute; top: -4px; left: 0; width: 2px; height: 38px; pointer-events: none;
  background: var(--body-text-color)}
.axis {position: relative; height: 18px; margin: 0 8px; font-size: 12px; opacity: .75}
.axis span {position: absolute; white-space: nowrap; transform: translateX(-50%)}
.reasons {margin: 2px 8px; font-size: 13px}
.reasons i {display: inline-block; width: 10px; height: 10px; border-radius: 2px; margin: 0 5px 0 12px}
"""


def timeline(keys: Sequence[KeyFrameMark], seconds: float) -> str:
    """Return a bar with a mark for every key frame, a time axis, and a legend of the reasons.

    Args:
        keys: key frames in order.
        seconds: duration of the clip.
    """
    length = max(seconds, 1e-6)
    marks = "".join(_mark(mark, length) for mark in keys)
    step = next((step for step in _STEPS if length / step <= _MAX_TICKS), length / _MAX_TICKS)
    ticks = "".join(
        f'<span style="left:{100 * number * step / length:.3f}%">{number * step:g} s</span>'
        for number in range(int(length / step) + 1)
    )
    counts: dict[tuple[str, str], int] = {}
    for mark in keys:
        counts[REASONS[mark.reason]] = counts.get(REASONS[mark.reason], 0) + 1
    reasons = "".join(f'<i style="background:{color}"></i>{name} ({count})' for (name, color), count in counts.items())
    return (
        f'<div class="reasons"><b>{len(keys)} key frames</b>{reasons}</div>'
        f'<div class="track">{marks}<div class="cursor"></div></div><div class="axis">{ticks}</div>'
    )


def cost_table(rows: Sequence[CostRow], conditions: str) -> str:
    """Return the cost table in Markdown, followed by the conditions of the measurement."""
    lines = ["| | frames | GFLOPs per frame | ms per frame |", "|---|---:|---:|---:|"]
    for row in rows:
        frames = "" if row.frames is None else str(row.frames)
        lines.append(f"| {row.name} | {frames} | {_figure(row.gflops, 2)} | {_figure(row.milliseconds, 1)} |")
    return "\n".join([*lines, "", f"*{escape(conditions)}*"])


def summary(clip: ClipPrediction) -> str:
    """Return the number of frames and the time, and the decode errors of a damaged clip."""
    done = message(f"{progress_text(clip.progress)}, {clip.progress.elapsed:.1f} s in total.", "done")
    if not clip.decode_errors:
        return done
    errors = " ".join(f"{error}." for error in clip.decode_errors)
    return done + message(f"The clip is damaged; only the frames that could be decoded are shown. {errors}", "warning")


def message(text: str, kind: str) -> str:
    """Return a message box.

    Args:
        text: plain text, which is escaped: file names may contain markup.
        kind: ``done``, ``warning`` or ``error``.
    """
    return f'<div class="message {kind}">{escape(text)}</div>'


def _mark(mark: KeyFrameMark, length: float) -> str:
    name, color = REASONS[mark.reason]
    place = f'style="left:{100 * mark.seconds / length:.3f}%;background:{color}" data-seconds="{mark.seconds:.6f}"'
    return f'<div class="mark" {place} title="key frame {mark.frame}, {mark.seconds:.2f} s: {name}"></div>'


def _figure(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
