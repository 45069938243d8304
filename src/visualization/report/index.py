"""Page of many videos, with a link to the report of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from urllib.parse import quote

from src.visualization.report.page import document


@dataclass(frozen=True)
class IndexRow:
    """Row of one video.

    Attributes:
        video: name of the video, and of its folder.
        status: status in words.
        frames: number of predicted frames.
        report: path of its page relative to the index; ``None`` without one.
    """

    video: str
    status: str
    frames: int
    report: str | None


def index_page(title: str, rows: Sequence[IndexRow]) -> str:
    """Write the page of at least one video, in the given order."""
    heads = "".join(f'<th scope="col">{name}</th>' for name in ("video", "frames", "status"))
    lines = "".join(
        f'<tr><th scope="row">{_link(row)}</th><td>{row.frames}</td><td>{escape(row.status)}</td></tr>' for row in rows
    )
    table = f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table></div>'
    return document(title, f"<h1>{escape(title)}</h1>\n<p>{len(rows)} videos</p>\n{table}\n")


def _link(row: IndexRow) -> str:
    if row.report is None:
        return escape(row.video)
    # A name such as a:b would otherwise be read as an address.
    address = escape(quote(f"./{row.report}", errors="surrogateescape"))
    return f'<a href="{address}">{escape(row.video)}</a>'
