import json
from pathlib import Path

from src.inference.video.formats.json_stream import JsonStream


def test_lists_are_written_in_any_order(tmp_path: Path) -> None:
    stream = JsonStream(tmp_path / "a.json", {"head": {"ü": [1]}}, ("first", "second", "empty"))
    for number in range(3):
        stream.add("second", {"n": number})
        stream.add("first", number)
    stream.close()
    expected = {"head": {"ü": [1]}, "first": [0, 1, 2], "second": [{"n": 0}, {"n": 1}, {"n": 2}], "empty": []}
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == expected
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_an_abandoned_file_is_no_json_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    stream = JsonStream(tmp_path / "a.json", {}, ("first", "second"))
    stream.add("second", 1)
    stream.abandon()
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
