"""Laws of the page: self-contained, escaped, with a title and alternative texts."""

from html.parser import HTMLParser

import torch

from src.visualization.report.page import Cost, Header, report_page
from src.visualization.report.thumbnails import Thumbnails
from tests.visualization.report.test_timeline import filled

EVIL = '<script>alert("1")</script>\' onerror=x &amp; &'
PALETTE = ((70, 130, 180), (220, 20, 60))


class Reader(HTMLParser):
    """Reader of the tags, attributes and texts of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def page(name: str = "drive.mp4", **changes: object) -> str:
    thumbnails = Thumbnails()
    for number in range(12):
        thumbnails.add(number / 25, torch.full((3, 20, 30), 9 * number, dtype=torch.uint8), 0.1)
    facts: dict[str, object] = {"title": name, "state": name, "is_complete": True, "facts": {name: name}, "command": name}
    header = Header(**(facts | {"settings": {name: name}, "files": ["overlay.mp4", name]} | changes))  # type: ignore[arg-type]
    costs = [Cost("key frame", 3, 12.5, 4.0), Cost("non-key frame", 9, 2.5, None)]
    return report_page(header, filled(12), thumbnails, (name, "sky"), PALETTE, costs)


def test_names_cannot_become_markup() -> None:
    plain, evil = Reader(page()), Reader(page(EVIL))
    assert [tag for tag, _ in plain.tags] == [tag for tag, _ in evil.tags]
    assert [list(attributes) for _, attributes in plain.tags] == [list(attributes) for _, attributes in evil.tags]
    assert "script" not in {tag for tag, _ in evil.tags}
    assert EVIL in evil.texts and "".join(evil.texts).count(EVIL) == "".join(plain.texts).count("drive.mp4")


def test_nothing_is_loaded_from_elsewhere() -> None:
    text = page()
    assert "http" not in text.replace("http-equiv", "") and "url(" not in text.replace("url(#", "") and "@import" not in text
    found = Reader(text)
    addresses = [value for _, attributes in found.tags for name, value in attributes.items() if name in ("src", "href")]
    assert addresses and all(
        str(value).startswith(("data:image/jpeg;base64,", "#", "overlay.mp4", "drive.mp4")) for value in addresses
    )
    (policy,) = [attributes["content"] for tag, attributes in found.tags if "http-equiv" in attributes]
    assert str(policy).startswith("default-src 'none'")


def test_the_page_has_a_title_and_alternative_texts() -> None:
    found = Reader(page())
    assert "drive.mp4" in found.texts and ("title", {}) in found.tags
    images = [attributes for tag, attributes in found.tags if tag == "img"]
    # Eight at even times, and one pair: all frames flicker equally within one second.
    assert len(images) == 10 and all(str(image["alt"]).startswith("Overlay of frame ") for image in images)
    charts = [attributes for _, attributes in found.tags if attributes.get("role") == "img"]
    assert len(charts) == 2 and all("1 first, 2 interval" in str(chart["aria-label"]) for chart in charts)
    assert ("html", {"lang": "en"}) in found.tags


def test_parts_without_content_are_left_out() -> None:
    text = page(command="", settings=None, files=())
    assert "<h2>Command" not in text and "<h2>Settings" not in text and "<h2>Files" not in text and "<h2>Course" in text
    assert '<p class="state incomplete">' in page(is_complete=False)
