"""HTML of the demo page: progress, results beside their legend, timelines of key frames, cost table, messages."""

from base64 import b64encode
from collections import Counter
from collections.abc import Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from src.structures import KeyReason
from src.visualization.palette import Palette
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
_LETTERS = "AB"
_SPLIT_LABEL = "Boundary between the source on the left and the overlay on the right"


def progress(note: str, share: float | None, picture: bytes | None, legend: str) -> str:
    """Return a progress bar, indeterminate without a share, above the last labelled frame (JPEG) and its legend."""
    value = "" if share is None else f' value="{share:.3f}"'
    bar = f'<div class="run" role="status"><span>{escape(note)}</span><progress max="1"{value}></progress></div>'
    if picture is None:
        return bar
    image = f'<img class="preview" alt="last labelled frame" src="data:image/jpeg;base64,{b64encode(picture).decode()}">'
    return f'{bar}<div class="stage"><div>{image}</div>{legend}</div>'


def results(methods: Sequence[str], clips: Sequence[ClipPrediction], classes: Sequence[str], palette: Palette, about: str) -> str:
    """Return the results of one or two methods: videos beside the legend, timelines, costs and files.

    Args:
        methods: names.
        clips: predictions of the methods.
        classes: K names.
        palette: K colors.
        about: name of the clip.
    """
    names = [f"{letter}: {name}" for letter, name in zip(_LETTERS, methods, strict=False)] if len(clips) > 1 else list(methods)
    letters = list(_LETTERS[: len(clips)]) if len(clips) > 1 else [""]
    panes = "".join(_pane(name, clip) for name, clip in zip(names, clips, strict=True))
    lines = "".join(timeline(clip.keys, clip.progress.position, letter) for letter, clip in zip(letters, clips, strict=True))
    files = "".join(_files(clip, letter) for letter, clip in zip(letters, clips, strict=True))
    table = cost_table([(name, clip.costs) for name, clip in zip(names, clips, strict=True)], clips[0].conditions)
    shares = [(letter or "share", clip.class_shares) for letter, clip in zip(letters, clips, strict=True)]
    return (
        f'<div class="about">{escape(about)}</div><div class="stage"><div><div class="panes count{len(clips)}">{panes}</div>'
        '<div class="transport"><button type="button" class="play">Pause</button><output class="time"></output>'
        f'<span class="hint">Drag the line on the picture: source on its left, overlay on its right.</span></div>{lines}</div>'
        f'{legend(classes, palette, shares)}</div>{table}<div class="files">{files}</div>'
    )


def legend(classes: Sequence[str], palette: Palette, shares: Sequence[tuple[str, Sequence[float]]] = ()) -> str:
    """Return a list of all classes and colors, with named columns of shares, 0..1, the largest of the first column on top."""
    order = sorted(range(len(classes)), key=lambda k: -shares[0][1][k]) if shares else range(len(classes))
    head = "".join(f"<span>{escape(name)}</span>" for name, _ in shares)
    entries = "".join(
        f'<li class="{"absent" if shares and not any(column[k] for _, column in shares) else ""}">'
        f'<i style="background:rgb{tuple(palette[k])}"></i><b>{escape(classes[k])}</b>'
        + "".join(f'<span data-name="{escape(name)}">{_percent(column[k])}</span>' for name, column in shares)
        + "</li>"
        for k in order
    )
    return f'<ul class="legend count{len(shares)}"><li class="head"><i></i><b>class</b>{head}</li>{entries}</ul>'


def timeline(keys: Sequence[KeyFrameMark], seconds: float, name: str = "") -> str:
    """Return a slider of a clip's duration with a mark for every key frame, a time axis, and a legend of the reasons."""
    length = max(seconds, 1e-6)
    marks = "".join(_mark(mark, length) for mark in keys)
    step = next((step for step in _STEPS if length / step <= _MAX_TICKS), length / _MAX_TICKS)
    ticks = "".join(
        f'<span style="left:{100 * time / length:.3f}%"{" class=last" if time > 0.95 * length else ""}>{time:g} s</span>'
        for time in (number * step for number in range(int(length / step) + 1))
    )
    counts = Counter(REASONS[mark.reason] for mark in keys)
    reasons = "".join(
        f'<span><i style="background:{color}"></i>{name} ({count})</span>' for (name, color), count in counts.items()
    )
    title = f"{name}: {len(keys)} key frames" if name else f"{len(keys)} key frames"
    seek = f'<input class="seek" type="range" min="0" max="{length:.6f}" step="any" value="0" aria-label="{title}, time">'
    return (
        f'<div class="reasons"><b>{title}</b>{reasons}</div><div class="track">{seek}{marks}</div><div class="axis">{ticks}</div>'
    )


def cost_table(methods: Sequence[tuple[str, Sequence[CostRow]]], conditions: str) -> str:
    """Return the cost table of one or more named methods, followed by the conditions of the measurement."""
    columns = ("frames", "GFLOPs per frame", "ms per frame")
    head = "".join(f'<th scope="col">{name}</th>' for name in columns)
    groups = "".join(
        f'<tbody><tr><th colspan="4" scope="colgroup">{escape(name)}</th></tr>{"".join(map(_cost_row, rows))}</tbody>'
        for name, rows in methods
    )
    return (
        f'<table class="costs"><thead><tr><th scope="col">cost</th>{head}</tr></thead>{groups}</table>'
        f'<p class="conditions">{escape(conditions)}</p>'
    )


def summary(clip: ClipPrediction, letter: str = "") -> str:
    """Return the number of frames and the time, the predicted part of a longer clip, and the decode errors of a damaged one.

    ``letter`` is that of one of two methods.
    """
    before = f"{letter}: " if letter else ""
    done = message(f"{before}{clip.progress}, {clip.progress.elapsed:.1f} s in total.", "done")
    if clip.part is not None:
        done += message(f"{before}Only a part of the clip is shown: {clip.part}.", "warning")
    if not clip.decode_errors:
        return done
    errors = " ".join(f"{error}." for error in clip.decode_errors)
    return done + message(f"The clip is damaged; only the frames that could be decoded are shown. {errors}", "warning")


def message(text: str, kind: str) -> str:
    """Return a message box of the kind ``done``, ``warning`` or ``error``."""
    # File names may contain markup.
    return f'<div class="message {kind}">{escape(text)}</div>'


def _pane(name: str, clip: ClipPrediction) -> str:
    return (
        f'<figure class="pane"><figcaption>{escape(name)}</figcaption><div class="screen"><canvas></canvas>'
        f'<input class="split" type="range" min="0" max="1" step="0.01" value="0.5" aria-label="{_SPLIT_LABEL}"></div>'
        f'<video src="{_address(clip.video)}" muted playsinline autoplay preload="auto" tabindex="-1"></video></figure>'
    )


def _files(clip: ClipPrediction, letter: str) -> str:
    before = f"{letter}: " if letter else ""
    named = ((clip.video, "source and overlay"), (clip.shares, "class shares"), (clip.labels, "label maps"))
    return "".join(
        f'<a href="{_address(path)}" download="{letter and letter + "_"}{path.name}">{before}{kind} '
        f"({path.suffix[1:].upper()}, {_size(path)})</a>"
        for path, kind in named
    )


def _address(path: Path) -> str:
    # Relative, for the near end of a tunnel.
    return f"gradio_api/file={escape(quote(str(path)))}"


def _size(path: Path) -> str:
    kilobytes = path.stat().st_size / 1e3
    return f"{kilobytes / 1e3:.1f} MB" if kilobytes >= 1e3 else f"{kilobytes:.0f} kB"


def _mark(mark: KeyFrameMark, length: float) -> str:
    name, color = REASONS[mark.reason]
    place = f'style="left:{100 * mark.seconds / length:.3f}%;background:{color}" data-seconds="{mark.seconds:.6f}"'
    return f'<div class="mark" {place} title="key frame {mark.frame}, {mark.seconds:.2f} s: {name}"></div>'


def _cost_row(row: CostRow) -> str:
    values = ("" if row.frames is None else str(row.frames), _format_number(row.gflops, 2), _format_number(row.milliseconds, 1))
    return f'<tr><th scope="row">{row.name}</th>{"".join(f"<td>{value}</td>" for value in values)}</tr>'


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share >= 0.0005 or not share else "&lt; 0.1 %"


def _format_number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
