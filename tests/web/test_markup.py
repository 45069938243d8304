import re
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from src.inference.video.prediction import PredictionProgress
from src.structures import KeyReason
from src.web.markup import REASONS, cost_table, legend, message, progress, results, summary, timeline
from src.web.predictor import ClipPrediction, KeyFrameMark
from src.web.run_cost import CostRow

MARKS = [KeyFrameMark(0, 0.0, "first"), KeyFrameMark(5, 0.5, "interval"), KeyFrameMark(8, 0.8, "cut")]


def test_every_key_frame_has_a_mark_at_its_time_with_its_reason() -> None:
    html = timeline(MARKS, 2.0)
    assert re.findall(r'class="mark" style="left:([\d.]+)%', html) == ["0.000", "25.000", "40.000"]
    assert re.findall(r'data-seconds="([\d.]+)"', html) == ["0.000000", "0.500000", "0.800000"]
    assert "key frame 8, 0.80 s: scene cut" in html and "3 key frames" in html and "scene cut (1)" in html
    assert 'type="range" min="0" max="2.000000"' in html


@pytest.mark.parametrize("seconds", [0.0, 0.04, 1.6, 59.9, 3600.0, 100_000.0])
def test_the_axis_has_room_for_its_numbers(seconds: float) -> None:
    html = timeline(MARKS[:1], seconds)
    places = [float(left) for left in re.findall(r'<span style="left:([\d.]+)%', html)]
    assert 1 <= len(places) <= 13 and places[0] == 0 and all(0 <= left <= 100 for left in places)


def test_every_reason_has_a_name() -> None:
    assert set(REASONS) == {*get_args(KeyReason), None}


def test_unknown_costs_are_left_out() -> None:
    rows = [CostRow("key frame", 2, 1.5, 20.0), CostRow("non-key frame", 0, None, None)]
    text = cost_table([("A: <b>", rows), ("B", rows[:1])], "a <machine>")
    assert '<th scope="row">key frame</th><td>2</td><td>1.50</td><td>20.0</td>' in text
    assert '<th scope="row">non-key frame</th><td>0</td><td></td><td></td>' in text
    assert "a &lt;machine&gt;" in text and "A: &lt;b&gt;" in text and text.count("<tbody>") == 2


def test_names_of_files_are_shown_and_never_run() -> None:
    assert message("no <script>alert(1)</script> & co", "error") == (
        '<div class="message error">no &lt;script&gt;alert(1)&lt;/script&gt; &amp; co</div>'
    )


def prediction(folder: Path, **changes: Any) -> ClipPrediction:
    files = [folder / name for name in ("overlay.mp4", "class_share.csv", "labels.zip")]
    done = PredictionProgress(40, 8, 1.6, 4.0)
    return replace(ClipPrediction(*files, [0.0, 0.25, 0.7499, 0.0001], MARKS, done, [], "cpu", []), **changes)


CLASSES, PALETTE = ("sky", "<road>", "car", "pole"), ((1, 2, 3), (4, 5, 6), (7, 8, 9), (10, 11, 12))


def test_the_legend_has_all_classes_and_the_most_frequent_first() -> None:
    html = legend(CLASSES, PALETTE, [("A", [0.0, 0.25, 0.7499, 0.0001]), ("B", [0.0, 0.5, 0.5, 0.0])])
    assert re.findall("<b>(.*?)</b>", html) == ["class", "car", "&lt;road&gt;", "pole", "sky"]
    assert re.findall('rgb(.*?)"', html) == ["(7, 8, 9)", "(4, 5, 6)", "(10, 11, 12)", "(1, 2, 3)"]
    shares = ["A", "B", "75.0 %", "50.0 %", "25.0 %", "50.0 %", "&lt; 0.1 %", "0.0 %", "0.0 %", "0.0 %"]
    assert re.findall("<span.*?>(.*?)</span>", html) == shares and html.count('class="absent"') == 1
    plain = legend(CLASSES, PALETTE)
    assert re.findall("<b>(.*?)</b>", plain) == ["class", "sky", "&lt;road&gt;", "car", "pole"] and "<span" not in plain


def test_results_of_two_methods_stand_side_by_side(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("a", 'b"><script>')]
    for folder in folders:
        folder.mkdir()
        for name in ("overlay.mp4", "class_share.csv", "labels.zip"):
            (folder / name).write_bytes(b"x" * 1500)
    clips = [prediction(folder) for folder in folders]
    html = results(["one", "two"], clips, CLASSES, PALETTE, "it's <b>")
    assert html.count("<video") == html.count('class="split"') == html.count('class="seek"') == html.count("<tbody>") == 2
    assert html.count("A: one") == html.count("B: two") == 2 and "A: 3 key frames" in html
    assert html.count("<a href") == 6 and "A: label maps (ZIP, 2 kB)" in html and 'download="B_overlay.mp4"' in html
    assert "<script>" not in html and "it's <b>" not in html and f'src="gradio_api/file={folders[0]}/overlay.mp4"' in html
    single = results(["one"], clips[:1], CLASSES, PALETTE, "clip")
    assert "A:" not in single and 'download="overlay.mp4"' in single and single.count("<video") == 1


def test_progress_has_one_bar() -> None:
    assert progress("waiting <1>", None, None, "L") == (
        '<div class="run" role="status"><span>waiting &lt;1&gt;</span><progress max="1"></progress></div>'
    )
    html = progress("8 frames", 0.25, b"jpeg", "LEGEND")
    assert html.count("<progress") == 1 and 'value="0.250"' in html and "base64,anBlZw==" in html and "LEGEND" in html


def test_decode_errors_are_shown_beside_the_result() -> None:
    clip = prediction(Path("a"))
    assert summary(clip).count("<div") == 1 and "40 frames, 10.0 fps, 20% key frames" in summary(clip)
    part = summary(prediction(Path("a"), part="40 of 90 frames"), "B")
    assert "B: Only a part of the clip is shown: 40 of 90 frames." in part and "message warning" in part
    broken = prediction(Path("a"), decode_errors=["x.mp4: truncated"])
    assert "message warning" in summary(broken) and "x.mp4: truncated." in summary(broken)
