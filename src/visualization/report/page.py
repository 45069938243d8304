"""Page of a prediction in one HTML file, without scripts and without links to other hosts."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from src.files.results.result_marker import RESULTS_FORMAT
from src.visualization.palette import Palette
from src.visualization.report.charts import class_groups, clock, course_chart
from src.visualization.report.thumbnails import Thumbnail, Thumbnails
from src.visualization.report.timeline import Timeline

_STYLE = Path(__file__).with_name("page.css")
# Nothing is loaded, not even where a name were not escaped.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_WIDE, _NARROW = 9.6, 4.3  # inches


@dataclass(frozen=True)
class Header:
    """Facts about a prediction, all of them plain text.

    Attributes:
        title: name of the video.
        state: end of the prediction in words.
        is_complete: whether all frames were predicted, without an error.
        facts: model, frames, rate and so on, by name.
        command: command that made the prediction; empty if unknown.
        settings: settings that the results depend on, by name.
        files: names of the files beside the page.
    """

    title: str
    state: str
    is_complete: bool
    facts: Mapping[str, str]
    command: str = ""
    settings: Mapping[str, str] | None = None
    files: Sequence[str] = ()


@dataclass(frozen=True)
class Cost:
    """Cost of the frames of one kind.

    Attributes:
        kind: name of the kind.
        frames: number of frames.
        milliseconds: typical time in the networks.
        gflops: billions of multiply-adds per frame; ``None`` if unknown.
    """

    kind: str
    frames: int
    milliseconds: float
    gflops: float | None


def report_page(
    header: Header, timeline: Timeline, thumbnails: Thumbnails, classes: Sequence[str], palette: Palette, costs: Sequence[Cost]
) -> str:
    """Write the page of a prediction of at least one frame: course, costs, classes and thumbnails.

    Args:
        header: facts about the prediction.
        timeline: figures of the frames.
        thumbnails: pictures of the overlay.
        classes: K names.
        palette: K colors.
        costs: rows of the cost table.
    """
    length = float(timeline.edges[-1] - timeline.edges[0])
    parts = [
        _opening(header),
        _course(timeline, palette),
        _classes(timeline, classes, palette),
        _costs(costs),
        _pictures("Frames at even times", [_figure(one, length) for one in thumbnails.even], ""),
        _pictures("Largest flicker", [_pair(one, length) for one in thumbnails.peaks], "On the left the frame before."),
        _closing(header),
    ]
    return document(header.title, "".join(parts))


def document(title: str, body: str) -> str:
    """Return an HTML file with a title in plain text and a body in HTML."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="color-scheme" content="light dark">\n'
        f'<meta name="generator" content="{RESULTS_FORMAT}">\n'
        f"<title>{escape(title)}</title>\n<style>\n{_STYLE.read_text(encoding='utf-8')}</style>\n</head>\n"
        f"<body>\n<main>\n{body}</main>\n</body>\n</html>\n"
    )


def _opening(header: Header) -> str:
    facts = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in header.facts.items())
    kind = "complete" if header.is_complete else "incomplete"
    return (
        f'<h1>{escape(header.title)}</h1>\n<p class="state {kind}">{escape(header.state)}</p>\n<dl class="facts">{facts}</dl>\n'
    )


def _course(timeline: Timeline, palette: Palette) -> str:
    reasons = {reason.replace("_", " ") or "every frame": int(counts.sum()) for reason, counts in timeline.keys().items()}
    counts = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
    flicker = timeline.means("flicker").overall
    known = "" if flicker is None else f"; mean flicker {100 * flicker:.2f} %"
    alt = escape(f"Course over time: class shares, key frames ({counts}), time per frame{known}")
    bins = "" if timeline.bin_frames == 1 else f" Each point stands for {timeline.bin_frames} frames."
    note = f"Key frames: {counts}{known}.{bins}"
    explained = (
        "" if flicker is None else " Flicker: share of the visible pixels whose class differs from that of the same point one "
        "frame earlier, found by optical flow; not known for the first frame and after a cut."
    )  # fmt: skip
    charts = "".join(
        f'<div class="{kind}" role="img" aria-label="{alt}">{course_chart(timeline, palette, width)}</div>'
        for kind, width in (("wide", _WIDE), ("narrow", _NARROW))
    )
    return f"<h2>Course</h2>\n<figure>{charts}<figcaption>{escape(note + explained)}</figcaption></figure>\n"


def _classes(timeline: Timeline, classes: Sequence[str], palette: Palette) -> str:
    shares = timeline.mean_shares
    own, others = class_groups(shares)
    items = [_swatch(classes[k], palette[k], shares[k]) for k in sorted(own, key=lambda k: -shares[k])]
    if others:
        items.append(_swatch(f"{len(others)} other classes", (128, 128, 128), float(shares[others].sum())))
    rest = "".join(_swatch(classes[k], None, shares[k]) for k in sorted(others, key=lambda k: -shares[k]))
    more = f'<details><summary>The other classes</summary><ul class="classes">{rest}</ul></details>' if others else ""
    absent = len(classes) - len(own) - len(others)
    note = f"<p>{absent} of {len(classes)} classes do not occur.</p>" if absent else ""
    return f'<h2>Classes</h2>\n<p>Mean share of the picture.</p><ul class="classes">{"".join(items)}</ul>{more}{note}\n'


def _swatch(name: str, color: tuple[int, int, int] | None, share: float) -> str:
    box = "" if color is None else '<i style="background:rgb({},{},{})"></i>'.format(*color)
    return f"<li>{box}<span>{escape(name)}</span> <b>{100 * share:.2f} %</b></li>"


def _costs(costs: Sequence[Cost]) -> str:
    counted = any(one.gflops is not None for one in costs)
    rows = "".join(
        f'<tr><th scope="row">{escape(one.kind)}</th><td>{one.frames}</td><td>{one.milliseconds:.1f}</td>'
        + (f"<td>{'' if one.gflops is None else f'{one.gflops:.2f}'}</td>" if counted else "")
        + "</tr>"
        for one in costs
    )
    heads = "".join(f'<th scope="col">{name}</th>' for name in ("", "frames", "ms", *(["GFLOPs"] if counted else [])))
    note = " GFLOPs: one multiply-add counts as 1, within a scene." if counted else ""
    return (
        f'<h2>Cost per frame</h2>\n<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'
        f"<p>Median times of the networks and their post-processing; decoding and writing run in parallel.{note}</p>\n"
    )


def _pictures(title: str, figures: Sequence[str], note: str) -> str:
    if not figures:
        return ""
    lead = f"<p>{note}</p>" if note else ""
    kind = "pairs" if note else "pictures"
    return f'<h2>{title}</h2>\n{lead}<div class="{kind}">{"".join(figures)}</div>\n'


def _figure(one: Thumbnail, length: float) -> str:
    words = f"frame {one.number}, {clock(one.time, length)}"
    return f"<figure>{_image(one.jpeg, one.size, f'Overlay of {words}')}<figcaption>{words}</figcaption></figure>"


def _pair(one: Thumbnail, length: float) -> str:
    words = f"frame {one.number}, {clock(one.time, length)}: {100 * (one.flicker or 0.0):.1f} %"
    images = _image(one.before or one.jpeg, one.size, f"Overlay of frame {one.number - 1}") + _image(
        one.jpeg, one.size, f"Overlay of frame {one.number}"
    )
    return f"<figure><div>{images}</div><figcaption>{words}</figcaption></figure>"


def _image(jpeg: bytes, size: tuple[int, int], alt: str) -> str:
    data = base64.b64encode(jpeg).decode("ascii")
    return f'<img src="data:image/jpeg;base64,{data}" alt="{alt}" width="{size[1]}" height="{size[0]}">'


def _closing(header: Header) -> str:
    command = f"<h2>Command</h2>\n<pre>{escape(header.command)}</pre>\n" if header.command else ""
    settings = ""
    if header.settings:
        rows = "".join(
            f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>' for name, value in header.settings.items()
        )
        settings = (
            "<h2>Settings</h2>\n<details><summary>All settings that the results depend on</summary>"
            f'<div class="scroll"><table><tbody>{rows}</tbody></table></div></details>\n'
        )
    links = ", ".join(f'<a href="{escape(name)}">{escape(name)}</a>' for name in header.files)
    files = f"<h2>Files</h2>\n<p>{links}</p>\n" if links else ""
    return files + command + settings
