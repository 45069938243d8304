"""The page in a headless browser, at the widths of a phone, a tablet and a desktop; every state is also kept as a picture."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import pytest

from src.inference.scheduling.budget import Budget
from src.inference.scheduling.scheduler import FixedInterval
from src.inference.video.sources import Frame, FrameSource, ImageFrames, SourceInfo
from src.measure.cost import FrameCost, FusionCost
from src.web.methods import EVERY_FRAME
from src.web.predictor import ClipPredictor
from src.web.schedules import Schedule
from src.web.workplace import workplace
from tests.inference.tiny import CLASSES, FakeClips, frames, tiny_propagator
from tests.web.chromium import PROGRAM, Browser, Tab, running

pytest.importorskip("gradio", reason="Gradio is not installed (requirements-demo.txt)")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(PROGRAM is None, reason="no Chromium on this machine")]

WIDTHS = (390, 820, 1400)
SCHEDULES = (
    Schedule("every k-th frame", "k", "key_interval", FixedInterval, 1, 30, 5, about="Every k-th frame."),
    Schedule("within a budget", "%", "percent", Budget, 5, 100, 40, about="As the budget allows."),
)
NAME = "it's <b>one & [two]"
SIZE = (96, 128)
FUSED = FusionCost(12.0, 14.0, {(2, False): 8.0, (1, True): 8.0, (2, True): 11.0})
COST = FrameCost(100.0, 10.0, 5.0, {}, fused={"photometric": FUSED})


class HeldFrames:
    """Source of 30 frames that waits after 12 of them until ``go`` is set."""

    def __init__(self, go: threading.Event) -> None:
        self._go, self.decode_errors = go, list[str]()
        self.info = SourceInfo("held", Fraction(15), Fraction(1, 15), 2.0)

    def __iter__(self) -> Iterator[Frame]:
        for number, image in enumerate(frames(30, SIZE)):
            if number == 12:
                assert self._go.wait(120)
            yield Frame(image, f"{number:06d}", Fraction(number, 15), Fraction(1, 15))

    def stored_frames(self) -> int:
        return 30


class Shown:
    """Served page in a running browser."""

    def __init__(self, browser: Browser, address: str, go: threading.Event, folder: Path) -> None:
        self._browser, self._address, self.go, self.folder = browser, address, go, folder

    def tab(self) -> Tab:
        tab = self._browser.open(self._address)
        tab.resize(WIDTHS[-1])
        tab.until(READY)
        return tab

    def check(self, tab: Tab, state: str) -> None:
        """Check the layout at all widths and keep pictures."""
        for width in WIDTHS:
            tab.resize(width)
            assert tab.js("document.scrollingElement.scrollWidth <= innerWidth"), (state, width)
            assert tab.js(BROKEN_WORDS) == [], (state, width)
            assert tab.picture(self.folder / f"{state}_{width}.png").startswith(b"\x89PNG")


READY = "[...document.querySelectorAll('button')].some(b => b.textContent.trim() === 'Predict')"
COUNT = "document.querySelectorAll({!r}).length"
BARS = COUNT.format("progress, [role=progressbar], .progress-bar, .eta-bar, .progress-level")
LEGEND = "[...document.querySelectorAll('.legend li:not(.head) b')].map(b => b.textContent)"
TEXT = "document.querySelector('#view').innerText"
# Words of the table's header that stand on two lines.
BROKEN_WORDS = """[...document.querySelectorAll('.costs th')].flatMap(cell => {
  const node = cell.firstChild, range = document.createRange();
  return [...(cell.textContent.matchAll(/\\S+/g))].filter(word => {
    range.setStart(node, word.index), range.setEnd(node, word.index + word[0].length);
    return range.getClientRects().length > 1;
  }).map(word => word[0]);
})"""
# Sum of the differences between the red, green and blue of a pixel, at a share of the width: 0 in the grey source.
COLOR = """(canvas => {{
  const [r, g, b] = canvas.getContext('2d').getImageData({} * canvas.width, canvas.height / 2, 1, 1).data;
  return Math.abs(r - g) + Math.abs(g - b);
}})(document.querySelectorAll('canvas')[{}])"""


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    with pytest.MonkeyPatch.context() as patch, workplace() as folder:
        patch.setenv("GRADIO_TEMP_DIR", str(folder))
        patch.setattr("src.web.predictor.frame_cost", lambda *_: COST)
        from src.web.page import DemoPage

        go = threading.Event()
        grey = FakeClips((12,), SIZE)
        grey.images[0] = [image[:1].expand(3, -1, -1).contiguous() for image in grey.images[0]]
        clips: dict[str, Callable[[], FrameSource]] = {
            "held": lambda: HeldFrames(go), NAME: lambda: ImageFrames.of_clip(grey, "0")
        }  # fmt: skip
        predictor = ClipPredictor({name: tiny_propagator(name) for name in ("copy", "dis")}, CLASSES, FakeClips.palette, 32)
        page = DemoPage(predictor, clips, SCHEDULES, folder, 0, "tiny")
        address = page.launch(None)
        try:
            with running(tmp_path_factory.mktemp("profile")) as browser:
                yield Shown(browser, address, go, tmp_path_factory.mktemp("pictures"))
        finally:
            go.set()
            page.close()


def choose(tab: Tab, label: str, option: str) -> None:
    field, wanted = f"document.querySelector('input[aria-label=\"{label}\"]')", json.dumps(option)
    tab.js(f"{field}.focus()")
    tab.until(COUNT.format("[role=option]"))
    tab.js(
        f"[...document.querySelectorAll('[role=option]')].find(o => o.textContent.includes({wanted}))"
        ".dispatchEvent(new MouseEvent('mousedown', {bubbles: true}))"
    )
    tab.until(f"{field}.value === {wanted}")


def test_a_run_is_shown_stopped_and_found_again_beside_a_second_tab(shown: Shown) -> None:
    with shown.tab() as tab, shown.tab() as other:
        tab.press("Predict")
        tab.until("document.querySelector('img.preview') && document.querySelector('#view').innerText.includes('11 frames')")
        assert tab.js(BARS) == 1 and tab.js(LEGEND) == list(CLASSES)
        shown.check(tab, "running")
        other.press("Predict")
        other.until("document.querySelector('#view').innerText.includes('waiting for 1 prediction')")
        assert other.js(BARS) == 1
        shown.check(other, "waiting")
        other.press("Stop")
        other.until("document.querySelector('#view').innerText === 'Cancelled before it started.'")
        tab.reload()
        tab.until("document.querySelector('img.preview')")
        assert tab.js(BARS) == 1
        tab.press("Stop")
        tab.until("document.querySelector('#view').innerText.includes('stopping after')")
        shown.go.set()
        tab.until(COUNT.format(".pane"))
        stopped = tab.js(TEXT)
        assert "stopped after" in stopped and "frames of 30" in stopped and tab.js(BARS) == 0
        tab.resize(WIDTHS[-1])  # a hidden tab draws nothing
        tab.until("document.querySelector('canvas').width === 128")
        shown.check(tab, "stopped")
        tab.reload()
        tab.until(COUNT.format(".pane"))
        assert tab.js("document.querySelector('#view .message').innerText") in stopped
        other.reload()
        other.until("document.querySelector('#view') && document.querySelector('#view').innerText.includes('Cancelled')")


def test_two_methods_play_together_with_a_line_between_source_and_overlay(shown: Shown) -> None:
    with shown.tab() as tab:
        choose(tab, "Clip", NAME)
        choose(tab, "Compare with", EVERY_FRAME)
        tab.press("Predict")
        tab.until(COUNT.format(".pane") + " === 2")
        tab.until("[...document.querySelectorAll('canvas')].every(canvas => canvas.width === 128)")
        assert sorted(tab.js(LEGEND)) == sorted(CLASSES) and tab.js(COUNT.format(".costs tbody")) == 2
        assert NAME in tab.js(TEXT) and tab.js(COUNT.format("#view .about b")) == 0
        tab.until("document.querySelector('video').ended")
        shown.check(tab, "compared")
        # A key frame of the second method, shown by both.
        tab.js("document.querySelectorAll('.track')[1].querySelectorAll('.mark')[3].click()")
        tab.until("[...document.querySelectorAll('video')].every(v => !v.seeking && Math.abs(v.currentTime - 0.2) < 0.01)")
        tab.until("[...document.querySelectorAll('.seek')].every(s => Math.round(10 * s.value) === 2)")
        for pane in (0, 1):
            assert tab.js(COLOR.format(0.25, pane)) < 30 < tab.js(COLOR.format(0.75, pane))
        tab.js("document.querySelector('.split').focus()")
        tab.call("Input.dispatchKeyEvent", type="keyDown", key="Home", code="Home", windowsVirtualKeyCode=36)
        tab.until("[...document.querySelectorAll('.split')].every(s => Number(s.value) === 0)")
        tab.until(COLOR.format(0.25, 1) + " > 30")
        tab.press("Play")
        tab.until("[...document.querySelectorAll('video')].every(v => v.currentTime > 0.3)")


def test_choices_are_explained(shown: Shown) -> None:
    with shown.tab() as tab:
        tips = "Object.fromEntries([...document.querySelectorAll('label')].map(l => [l.textContent.trim(), l.title]))"
        found = tab.js(tips)
        assert found["within a budget"] == "As the budget allows." and "one interval late" in found["offline"]
        assert found["copy"].startswith("No motion") and found["dis"]
        tab.js("[...document.querySelectorAll('label')].find(l => l.textContent.trim() === 'online').click()")
        tab.until("document.body.innerText.includes('A frame is labelled at once')")


def test_a_broken_file_is_an_error_without_results(shown: Shown, tmp_path: Path) -> None:
    path = tmp_path / "broken <i>.mp4"
    path.write_bytes(b"no video")
    with shown.tab() as tab:
        root = tab.call("DOM.getDocument")["root"]["nodeId"]
        node = tab.call("DOM.querySelector", nodeId=root, selector="input[type=file]")["nodeId"]
        tab.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])
        tab.until("document.body.innerText.includes('broken')")
        tab.press("Predict")
        tab.until(COUNT.format("#view .error"))
        assert "is not a readable video" in tab.js(TEXT) and tab.js(COUNT.format("#view i, .pane, progress")) == 0
        shown.check(tab, "broken")
