"""HTML and Markdown of the demo page: timeline of key frames, cost table, messages."""

from collections import Counter
from collections.abc import Sequence
from html import escape
from pathlib import Path

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

_FOLDER = Path(__file__).parent
TIMELINE_JS = (_FOLDER / "timeline.js").read_text(encoding="utf-8")
TIMELINE_CSS = (_FOLDER / "timeline.css").read_text(encoding="utf-8")


def timeline(keys: Sequence[KeyFrameMark], seconds: float) -> str:
    """Return a bar of a clip's duration with a mark for every key frame, a time axis, and a legend of the reasons."""
    length = max(seconds, 1e-6)
    marks = "".join(_mark(mark, length) for mark in keys)
    step = next((step for step in _STEPS if length / step <= _MAX_TICKS), length / _MAX_TICKS)
    ticks = "".join(
        f'<span style="left:{100 * number * step / length:.3f}%">{number * step:g} s</span>'
        for number in range(int(length / step) + 1)
    )
    counts = Counter(REASONS[mark.reason] for mark in keys)
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
        lines.append(f"| {row.name} | {frames} | {_format_number(row.gflops, 2)} | {_format_number(row.milliseconds, 1)} |")
    return "\n".join([*lines, "", f"*{escape(conditions)}*"])


def summary(clip: ClipPrediction) -> str:
    """Return the number of frames and the time, the predicted part of a longer clip, and the decode errors of a damaged one."""
    done = message(f"{clip.progress}, {clip.progress.elapsed:.1f} s in total.", "done")
    if clip.part is not None:
        done += message(f"Only a part of the clip is shown: {clip.part}.", "warning")
    if not clip.decode_errors:
        return done
    errors = " ".join(f"{error}." for error in clip.decode_errors)
    return done + message(f"The clip is damaged; only the frames that could be decoded are shown. {errors}", "warning")


def message(text: str, kind: str) -> str:
    """Return a message box of the kind ``done``, ``warning`` or ``error``."""
    # File names may contain markup.
    return f'<div class="message {kind}">{escape(text)}</div>'


def _mark(mark: KeyFrameMark, length: float) -> str:
    name, color = REASONS[mark.reason]
    place = f'style="left:{100 * mark.seconds / length:.3f}%;background:{color}" data-seconds="{mark.seconds:.6f}"'
    return f'<div class="mark" {place} title="key frame {mark.frame}, {mark.seconds:.2f} s: {name}"></div>'


def _format_number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
