"""Laws of the index: a link to each page that exists, whatever the name."""

from src.visualization.report.index import IndexRow, index_page
from tests.visualization.report.test_page import EVIL, Reader


def test_rows_link_to_reports() -> None:
    rows = [IndexRow("deep/a #1", "done", 12, "deep/a #1/report.html"), IndexRow("b", "failed; no frame", 0, None)]
    found = Reader(index_page("videos", rows))
    assert [attributes for tag, attributes in found.tags if tag == "a"] == [{"href": "./deep/a%20%231/report.html"}]
    assert {"deep/a #1", "12", "done", "b", "0", "failed; no frame", "2 videos", "videos"} <= set(found.texts)


def test_names_cannot_become_markup_or_addresses() -> None:
    plain, evil = (
        Reader(index_page(name, [IndexRow(name, name, 1, f"{name}/report.html")])) for name in ("a", f"javascript:{EVIL}\udcff")
    )
    assert [(tag, list(attributes)) for tag, attributes in plain.tags] == [
        (tag, list(attributes)) for tag, attributes in evil.tags
    ]
    (address,) = [attributes["href"] for tag, attributes in evil.tags if tag == "a"]
    assert str(address).startswith("./javascript%3A%3Cscript")
