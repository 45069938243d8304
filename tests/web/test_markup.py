import re
from pathlib import Path
from typing import get_args

import pytest

from src.inference.video.prediction import PredictionProgress
from src.structures import KeyReason
from src.web.markup import REASONS, cost_table, message, summary, timeline
from src.web.predictor import ClipPrediction, KeyFrameMark
from src.web.run_cost import CostRow

MARKS = [KeyFrameMark(0, 0.0, "first"), KeyFrameMark(5, 0.5, "interval"), KeyFrameMark(8, 0.8, "cut")]


def test_every_key_frame_has_a_mark_at_its_time_with_its_reason() -> None:
    html = timeline(MARKS, 2.0)
    assert re.findall(r'class="mark" style="left:([\d.]+)%', html) == ["0.000", "25.000", "40.000"]
    assert re.findall(r'data-seconds="([\d.]+)"', html) == ["0.000000", "0.500000", "0.800000"]
    assert "key frame 8, 0.80 s: scene cut" in html and "3 key frames" in html and "scene cut (1)" in html
    assert "not trusted" not in html


@pytest.mark.parametrize("seconds", [0.0, 0.04, 1.6, 59.9, 3600.0, 100_000.0])
def test_the_axis_has_room_for_its_numbers(seconds: float) -> None:
    html = timeline(MARKS[:1], seconds)
    places = [float(left) for left in re.findall(r'<span style="left:([\d.]+)%', html)]
    assert 1 <= len(places) <= 13 and places[0] == 0 and all(0 <= left <= 100 for left in places)


def test_every_reason_has_a_name() -> None:
    assert set(REASONS) == {*get_args(KeyReason), None}


def test_unknown_costs_are_left_out() -> None:
    text = cost_table([CostRow("key frame", 2, 1.5, 20.0), CostRow("non-key frame", 0, None, None)], "a <machine>")
    assert "| key frame | 2 | 1.50 | 20.0 |" in text and "| non-key frame | 0 |  |  |" in text
    assert "a &lt;machine&gt;" in text


def test_names_of_files_are_shown_and_never_run() -> None:
    assert message("no <script>alert(1)</script> & co", "error") == (
        '<div class="message error">no &lt;script&gt;alert(1)&lt;/script&gt; &amp; co</div>'
    )


def test_decode_errors_are_shown_beside_the_result() -> None:
    clip = ClipPrediction(Path("a"), Path("b"), MARKS, PredictionProgress(40, 8, 1.6, 4.0), [], "", [])
    assert summary(clip).count("<div") == 1 and "40 frames, 10.0 fps, 20% key frames" in summary(clip)
    broken = ClipPrediction(Path("a"), Path("b"), MARKS, PredictionProgress(40, 8, 1.6, 4.0), [], "", ["x.mp4: truncated"])
    assert "message warning" in summary(broken) and "x.mp4: truncated." in summary(broken)
