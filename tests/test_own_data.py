"""The commands of docs/datasets.md, "Own data", run as printed: from a folder of frames and masks to a labelled video."""

from __future__ import annotations

import importlib
import json
import re
import shlex
import sys
from pathlib import Path

import av
import pytest
from PIL import Image

from src.inference.video.writer import VideoWriter
from src.weights.model_folder import load_model
from tests.data.own_layout import write_own_data
from tests.inference.tiny import frames
from tests.test_readme import ROOT, workplace  # noqa: F401

PAGE = (ROOT / "docs" / "datasets.md").read_text(encoding="utf-8")
SECTION = re.search(r"^## Own data\n(.*?)^## ", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = [] if SECTION is None else "".join(re.findall(r"```bash\n(.*?)```", SECTION[1], re.DOTALL)).splitlines()
SMALLER = {
    "scripts.check_data": ["workers=0"],
    "src.train": [
        "trainer.max_steps=2", "trainer.val_check_interval=2", "trainer.accelerator=cpu", "batch_size=2", "num_workers=0",
        "data.val_samples=2", "mask_loss.num_points=64", "callbacks.pictures.num_samples=1", "logger=csv",
    ],
    "src.eval": ["device=cpu", "key_intervals=[2]", "methods=[per_frame,correlation]"],
    "src.predict": ["device=cpu"],
}  # fmt: skip


def run(command: str, *more: str) -> int:
    """Run a printed command in this process, with settings that make it small, and return its exit code."""
    python, *words = shlex.split(command)
    assert python == "python"
    module, words = (words[1], words[2:]) if words[0] == "-m" else (words[0].replace("/", ".").removesuffix(".py"), words[1:])
    sys.argv[1:] = [*words, *SMALLER[module], *more]
    try:
        importlib.import_module(module).main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.mark.slow
def test_the_commands_of_the_page_run(workplace: Path) -> None:  # noqa: F811
    write_own_data(workplace / "mydata", num_frames=4)
    with VideoWriter(str(workplace / "drive.mp4"), 15) as video:
        for frame in frames(4):
            video.write(frame)
    assert len(COMMANDS) == 4
    assert [run(command) for command in COMMANDS] == [0, 0, 0, 0]
    own = workplace / "outputs" / "own_data"
    propagator, metadata = load_model(own / "propagation" / "model")
    assert metadata["classes"] == ["class_0", "class_1", "class_2"] and type(propagator.flow).__name__ == "CorrelationFlow"
    assert [row["method"] for row in json.loads((own / "scores.json").read_text())] == ["per_frame", "correlation"]
    with av.open(str(own / "drive" / "overlay.mp4")) as overlay:
        assert sum(1 for _ in overlay.decode(video=0)) == 4
    assert {path.name for path in workplace.iterdir()} == {"mydata", "drive.mp4", "outputs"}


@pytest.mark.slow
def test_sparse_masks_of_colors_of_one_class_are_trained_on_as_stills(
    workplace: Path,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Every frame is a second from the next; two of the three colors are ignored, and one is the class."""
    root = write_own_data(workplace / "mydata", ["a", "b"], num_frames=5, every=2, colored=True)
    classes = "fps: 1\nmask_colors: true\nclasses: [{name: car, color: [0, 0, 142]}]\n"
    (root / "classes.yaml").write_text(f"{classes}ignore_colors: [[128, 64, 128], [70, 130, 180]]\n")
    (root / "val.txt").write_text("b\n")
    assert run(COMMANDS[1], "stage=segmentor") == 0
    capsys.readouterr()
    # The whole command continues where the first stage has ended.
    assert run(COMMANDS[1]) == 0
    printed = capsys.readouterr().out
    assert printed.count("resuming from") == 1 and printed.count("no checkpoint in") == 2
    assert "data.motion_from=stills: 0 of 3 labelled frames have a frame at most 0.2 s before them" in printed
    assert "mydata has no train.txt: the videos that are not in val.txt are for training" in printed
    _, metadata = load_model(workplace / "outputs" / "own_data" / "propagation" / "model")
    assert (metadata["classes"], metadata["palette"]) == (["car"], [[0, 0, 142]])
    (picture,) = (workplace / "outputs" / "own_data" / "propagation" / "pictures").glob("*/*.png")
    with Image.open(picture) as drawn:
        assert drawn.width > 96 and drawn.height > 64


def test_a_failed_stage_ends_the_following_ones(workplace: Path) -> None:  # noqa: F811
    root = write_own_data(workplace / "mydata", ["a"], num_frames=2)
    (root / "classes.yaml").write_text("classes: [a, b, c]")
    (root / "val.txt").write_text("gone\n")
    assert run(COMMANDS[1]) == 1
    runs = workplace / "outputs" / "own_data"
    assert "video 'gone' is missing" in (runs / "segmentor" / "failed.txt").read_text()
    for stage, earlier in (("flow", "segmentor"), ("propagation", "flow")):
        text = (runs / stage / "failed.txt").read_text()
        assert f"{earlier}/model is of a job that failed" in text, text
