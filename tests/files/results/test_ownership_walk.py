"""Random walk over trees, options, errors and kills: a prediction changes nothing but its own results, and those as a whole.

The command is the real one; a fast fake replaces the network, the decoder and the encoder.
"""

import json
import os
import random
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from src.commands import predict as commands
from src.files.results.result_marker import FINISHED
from src.inference.video.output_places import output_scratch
from src.inference.video.outputs import FLOW, LABELS, SHARES, OutputOptions
from src.inference.video.prediction import PredictionProgress
from src.inference.video.predictor import VideoPrediction
from src.inference.video.sources import is_image

ROOT = Path(__file__).resolve().parents[3]
RUNS = 300
INPUT_NAMES = (
    "a.mp4", "A.MP4", "a.mkv", "b.mp4", "d/b.mp4", "d.mp4", "z/z.mp4", "z/z/b.mp4", "...mp4", "..mp4", ".hidden.mp4",
    "labels.mp4", "summary.json.mp4", "finished.json.mp4", "caf\u00e9.mp4", "cafe\u0301.mp4", "x" * 250 + ".mp4",
    "poster.jpg", "notes.md", "out/a.mp4", "d/out.mp4", "-rf.mp4", "a b.mp4", "overlay.mp4",
)  # fmt: skip
OUTPUTS = ("out", "out", "out", "out/deep", "in", "in/out", ".", "to_in", "to_out", "in/../out", "other", "to_nowhere")
USER_FILES = (
    "overlay.mp4", "summary.json", "finished.json", "labels/mine.png", "labels/0.png", "a/overlay.mp4", "a/mine.txt",
    "overlay.png", "b/labels/0.png", "d/b/mine.txt", ".mpvss.00000000.partial/mine", ".a.partial/mine", "notes.txt",
)  # fmt: skip

Tree = dict[str, str]


def tree(folder: Path) -> Tree:
    """Return the files and links of a folder with their contents and targets."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_symlink():
            found[str(path.relative_to(folder))] = f"-> {os.readlink(path)}"
        elif path.is_file():
            found[str(path.relative_to(folder))] = path.read_text()
    return found


class FakePredictor:
    """Writes results whose content is the number of the run; the content of a video selects the outcome."""

    run = 0

    def __init__(self, options: OutputOptions) -> None:
        self.options, self.weights = options, {"bytes": 1, "sha256": "w"}

    def predict(self, source: Any, folder: Path, *_: object) -> VideoPrediction:
        text = str(self.run)
        (folder / self.options.names(source.info.is_picture)[0]).write_text(text)
        if source.text == "unreadable":
            raise ValueError(f"{source.path} is no video")
        (folder / SHARES).write_text(text)
        for name in (LABELS,) * self.options.labels + (FLOW,) * self.options.flow_pictures:
            (folder / name).mkdir()
            for frame in range(1 + self.run % 3):
                (folder / name / f"{frame}.png").write_text(text)
        frames = 0 if source.text == "empty" else 3
        errors = ["damaged"] if source.text == "damaged" else []
        return VideoPrediction(PredictionProgress(frames, 1, 1.0, 1.0), errors, 15 if source.text == "stopped" else None)


def config(root: Path, draw: random.Random) -> DictConfig:
    chosen = {
        "input": str(root / draw.choice(["in"] * 6 + ["list.txt"] * 3 + ["in/a.mp4", "in/poster.jpg", "to_in", "none.mp4"])),
        "output": str(root / draw.choice(OUTPUTS)),
        "overwrite": draw.random() < 0.5,
        "labels": draw.random() < 0.5,
        "flow_pictures": draw.random() < 0.3,
    }
    fixed = {"checkpoint": None, "data": None, "scheduler": {}, "engine": {"name": "local"}, "device": "cpu"}
    merged = OmegaConf.merge(OmegaConf.load(ROOT / "conf/predict.yaml"), fixed, chosen)
    assert isinstance(merged, DictConfig)
    return merged


def build(root: Path, draw: random.Random) -> None:
    (root / "in").mkdir(parents=True)
    kinds = ["fine"] * 6 + ["damaged", "unreadable", "empty", "stopped"]
    names = draw.sample(INPUT_NAMES, draw.randint(1, 5))
    for name in names:
        (root / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        if not (root / "in" / name).exists():
            (root / "in" / name).write_text(draw.choice(kinds))
    for name in draw.sample(USER_FILES, draw.choice([0, 0, 1, 2, 3])):
        path = root / "out" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(draw.choice(["mine", "{}", '{"done": true}']))
    (root / "precious").mkdir()
    (root / "precious" / "keep.txt").write_text("mine")
    if draw.random() < 0.1 and (root / "out").exists() and not (root / "out" / "a").exists():
        (root / "out" / "a").symlink_to(root / "precious")
    for name, target in (("to_in", "in"), ("to_out", "out"), ("to_nowhere", "nowhere/deep")):
        (root / name).symlink_to(target)
    mark = draw.choice(["", "\ufeff"])
    (root / "list.txt").write_text(mark + "\r\n".join(["# videos", *(f"in/{name}" for name in names)]), encoding="utf-8")


def results(root: Path) -> dict[str, Tree]:
    """Return the marked folders with the files that they list; each must be of one run."""
    found = {}
    for path in root.rglob(FINISHED):
        with suppress(ValueError):
            note = json.loads(path.read_text())
            if note.get("format") == "mpvss_results" and ".mpvss" not in str(path):
                listed = {name: (path.parent / name).read_text() for name in note["files"]}
                assert len(set(listed.values())) == 1, (path, listed)
                found[str(path.parent.relative_to(root))] = listed
    return found


CALLS = (
    (os, "replace"),
    (os, "unlink"),
    (os, "rmdir"),
    (Path, "rename"),
    (Path, "mkdir"),
    (Path, "unlink"),
    (Path, "write_text"),
)


def interrupted(patch: pytest.MonkeyPatch, number: int, action: Callable[[], None]) -> None:
    """Run ``action`` before the call of that number that changes a folder."""
    calls = [0]

    def wrapped(original: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            calls[0] += 1
            if calls[0] == number:
                action()
            return original(*args, **kwargs)

        return call

    for owner, name in CALLS:
        patch.setattr(owner, name, wrapped(getattr(owner, name)))


class Killed(BaseException):
    """Error that nothing handles."""


def run(cfg: DictConfig) -> int:
    try:
        return commands.run(cfg)
    except (OSError, ValueError):
        return 1


def run_interrupted(cfg: DictConfig, monkeypatch: pytest.MonkeyPatch, draw: random.Random) -> int | None:
    """Run with an error or a kill at some point; return the exit code, ``None`` after that point."""
    number, kill, fired = draw.randint(1, 45), draw.random() < 0.5, list[int]()
    if not kill:
        failure = draw.choice([Killed("killed"), KeyboardInterrupt(), OSError(28, "No space left on device")])

        def fail() -> None:
            fired.append(number)
            raise failure

        code = None
        with monkeypatch.context() as patch, suppress(Killed):
            interrupted(patch, number, fail)
            code = run(cfg)
        return None if fired else code
    child = os.fork()
    if not child:
        try:
            interrupted(monkeypatch, number, lambda: os._exit(99))
            os._exit(run(cfg))
        finally:
            os._exit(98)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return None if code == 99 else code


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    def open_path(path: Path, _: object) -> SimpleNamespace:
        info = SimpleNamespace(is_picture=is_image(path))
        return SimpleNamespace(path=path, text=path.read_text() if path.is_file() else "fine", info=info)

    monkeypatch.setattr(commands, "load_predictor", lambda cfg, options, device, mode: FakePredictor(options))
    monkeypatch.setattr(commands, "open_path", open_path)
    monkeypatch.setattr(commands, "with_facts", lambda predictor, cfg, settings: predictor)
    assert threading.active_count() < 50


def check_step(
    before: Tree, after: Tree, owned: dict[str, Tree], now: dict[str, Tree], cfg: DictConfig, strangers: list[str]
) -> None:
    """Check one run: nothing but results changed, and those only as the options allow."""
    ours = {str(Path(folder) / name) for folder, files in owned.items() for name in (*files, FINISHED)}
    for name, text in before.items():
        parts = Path(name).parts
        summary = parts[-1] == "summary.json" and '"format"' in text
        if name in ours or summary or (any(part.startswith(".mpvss.") for part in parts) and name not in strangers):
            continue
        assert after.get(name) == text, f"{name} was changed or removed"
    if not cfg.overwrite:
        assert all(now.get(folder) == files for folder, files in owned.items()), "a result was replaced without overwrite=true"


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("seed", range(6))
def test_nothing_but_own_results_ever_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    draw = random.Random(seed)
    steps, codes = 0, []
    while steps < RUNS // 6:
        root = tmp_path / f"tree{steps}"
        build(root, draw)
        strangers = [name for name in tree(root) if ".mpvss." in name]
        owned: dict[str, Tree] = {}
        for _ in range(draw.randint(3, 8)):
            steps += 1
            FakePredictor.run = steps
            cfg = config(root, draw)
            before = tree(root)
            code = run_interrupted(cfg, monkeypatch, draw) if draw.random() < 0.5 else run(cfg)
            codes.append(code)
            # What was killed is undone by the next run to that output, here one that has nothing to predict.
            undo = draw.random() < 0.7
            if code is None and undo:
                with suppress(OSError), output_scratch(Path(cfg.output).resolve(), is_file=False):
                    pass
            now = results(root)
            if code is None and not undo:
                # Results between two places belong to the scratch until then.
                break
            check_step(before, tree(root), owned, now, cfg, strangers)
            left = [name for name in tree(root) if ".mpvss." in name and name not in strangers and ".kept" not in name]
            assert not left, left
            assert all(folder in now for folder in owned), "a finished result is gone"
            owned = now
        shutil.rmtree(root)
    assert codes.count(0) > 5 and codes.count(1) > 5 and codes.count(None) > 2, codes
