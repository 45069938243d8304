"""Laws of the course chart: inline SVG in the color of the page, of bounded size."""

import re
import xml.etree.ElementTree as ElementTree

import matplotlib
import numpy as np
import pytest

from src.visualization.report.charts import MAX_CLASSES, class_groups, clock, course_chart
from src.visualization.report.timeline import Timeline
from tests.visualization.report.test_timeline import figures, filled

PALETTE = ((70, 130, 180), (220, 20, 60))


def test_the_chart_is_inline_svg_without_addresses() -> None:
    before = dict(matplotlib.rcParams)
    svg = course_chart(filled(12), PALETTE, 6.0)
    assert dict(matplotlib.rcParams) == before
    assert ElementTree.fromstring(svg).attrib.keys() == {"viewBox", "aria-hidden", "focusable"}
    assert "http" not in svg and "#010203" not in svg and "currentColor" in svg
    assert "#4682b4" in svg and "#dc143c" in svg
    for title in ("class shares, %", "key frames", "flicker, %", "ms per frame", "first", "interval"):
        assert f">{title}<" in svg
    assert "confidence" not in svg and course_chart(filled(12), PALETTE, 6.0) == svg


def test_references_differ_between_the_charts_of_a_page() -> None:
    first, second = (set(re.findall(r'id="(course[^"]*)"', course_chart(filled(12), PALETTE, width))) for width in (6.0, 3.5))
    assert first and second and not first & second


def test_panels_follow_what_is_known() -> None:
    timeline = Timeline(2)
    timeline.add(figures(0, reason="", flicker=None, confidence=0.5))
    svg = course_chart(timeline, PALETTE, 6.0)
    assert ">confidence, %<" in svg and ">flicker, %<" not in svg and ">every frame<" in svg and "nan" not in svg


@pytest.mark.filterwarnings("error")
def test_long_videos_and_empty_classes_are_drawn() -> None:
    sizes = [len(course_chart(filled(frames), PALETTE, 6.0)) for frames in (900, 9000)]
    assert sizes[1] < 1.5 * sizes[0]
    nothing = Timeline(1)
    for number in range(3):
        nothing.add(figures(number, shares=np.zeros(1), seconds=0.0))
    assert course_chart(nothing, PALETTE[:1], 4.0)


def test_only_frequent_classes_have_areas_of_their_own() -> None:
    assert class_groups(np.array([0.1, 0.0, 0.9])) == ([0, 2], [])
    own, others = class_groups(np.linspace(0.01, 0.2, MAX_CLASSES + 3))
    assert len(own) == MAX_CLASSES - 1 and others == [0, 1, 2, 3]


def test_times_are_written_by_the_length_of_the_whole() -> None:
    assert [clock(2.5, 10), clock(65, 600), clock(3725, 36000), clock(59.9, 600)] == ["2.5 s", "1:05", "1:02:05", "1:00"]
