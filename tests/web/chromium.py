"""Headless Chromium, driven by its DevTools protocol through pipes."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Self

PROGRAM = shutil.which("chromium") or shutil.which("google-chrome")

_FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --mute-audio "
    "--disable-component-update --disable-sync --disable-features=AutofillServerCommunication --remote-debugging-pipe "
    "--autoplay-policy=no-user-gesture-required --hide-scrollbars --disable-renderer-backgrounding "
    "--disable-background-timer-throttling --disable-backgrounding-occluded-windows"
)
# Chromium reads from descriptor 3 and writes to 4.
_LAUNCH = """
import os, sys
source, target = (os.dup(os.dup(int(number))) for number in sys.argv[1:3])
os.dup2(source, 3), os.dup2(target, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
_SILENCE = 90.0  # seconds after which a browser that does not answer is an error
_TURNS, _PAUSE = 600, 0.1  # looks at the page before a wait fails, and seconds between them


class Browser:
    """Running browser; messages are JSON, each followed by a zero byte."""

    def __init__(self, requests: BinaryIO, answers: BinaryIO) -> None:
        self._requests, self._answers = requests, answers
        self._number, self._rest = 0, b""

    def call(self, method: str, options: dict[str, Any], session: str | None = None) -> dict[str, Any]:
        """Call a method of DevTools and return its result."""
        self._number += 1
        request = {"id": self._number, "method": method, "params": options} | ({"sessionId": session} if session else {})
        self._requests.write(json.dumps(request).encode() + b"\0")
        self._requests.flush()
        while True:
            answer = json.loads(self._read())
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result

    def open(self, address: str) -> Tab:
        """Open a page in a new tab."""
        target = self.call("Target.createTarget", {"url": address})["targetId"]
        return Tab(self, target, self.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"])

    def wait(self, event: str, session: str) -> None:
        """Wait for an event of a tab."""
        while True:
            message = json.loads(self._read())
            if (message.get("method"), message.get("sessionId")) == (event, session):
                return

    def _read(self) -> bytes:
        while b"\0" not in self._rest:
            ready = select.select([self._answers], [], [], _SILENCE)[0]
            piece = os.read(self._answers.fileno(), 2**16) if ready else b""
            if not piece:
                raise RuntimeError("the browser has ended, or does not answer")
            self._rest += piece
        message, _, self._rest = self._rest.partition(b"\0")
        return message


class Tab:
    """Tab of a browser, with the functions of DevTools that the tests need."""

    def __init__(self, browser: Browser, target: str, session: str) -> None:
        self._browser, self._target, self._session = browser, target, session

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # Every tab holds a connection, of which a browser has six for a page.
        self._browser.call("Target.closeTarget", {"targetId": self._target})

    def call(self, method: str, **options: Any) -> dict[str, Any]:
        """Call a method of DevTools and return its result."""
        return self._browser.call(method, options, self._session)

    def js(self, text: str) -> Any:
        """Evaluate JavaScript and return its value."""
        answer = self.call("Runtime.evaluate", expression=text, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{text}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def until(self, text: str) -> None:
        """Wait until JavaScript is true."""
        for _ in range(_TURNS):
            if self.js(f"!!({text})"):
                return
            time.sleep(_PAUSE)
        raise TimeoutError(f"never true: {text}; the page is {self.js('document.body.innerText')}")

    def reload(self) -> None:
        """Load the page anew."""
        self.call("Page.enable")
        self.call("Page.reload")
        self._browser.wait("Page.loadEventFired", self._session)

    def resize(self, width: int, height: int = 900) -> None:
        """Set the size of the window, CSS pixels."""
        self.call("Page.bringToFront")
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.until(f"innerWidth === {width}")

    def press(self, text: str) -> None:
        """Click the button with a text."""
        self.js(f"[...document.querySelectorAll('button')].find(b => b.textContent.trim() === {json.dumps(text)}).click()")

    def picture(self, path: Path) -> bytes:
        """Save a picture of the whole page and return its bytes."""
        self.call("Page.bringToFront")
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(shot["data"]))
        return path.read_bytes()


@contextmanager
def running(folder: Path) -> Iterator[Browser]:
    """Run a browser with a new profile in a folder."""
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    command = [str(PROGRAM), *_FLAGS.split(), f"--user-data-dir={folder}", "about:blank"]
    process = subprocess.Popen(
        [sys.executable, "-c", _LAUNCH, str(theirs_in), str(theirs_out), *command], stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, pass_fds=(theirs_in, theirs_out),
    )  # fmt: skip
    os.close(theirs_in), os.close(theirs_out)
    try:
        with open(ours_out, "wb") as requests, open(ours_in, "rb", buffering=0) as answers:
            yield Browser(requests, answers)
    finally:
        process.terminate()
        process.wait(60)
