import sys
from pathlib import Path

import pytest

from scripts import pipeline_overlap
from src.weights.model_folder import save_model
from tests.inference.tiny import CLASSES, FakeClips, frames, tiny_propagator
from tests.inference.videos import make_video


def test_both_modes_write_the_same_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = save_model(
        tiny_propagator("query"), tmp_path / "model", {"classes": CLASSES, "palette": FakeClips.palette, "short_side": 32}
    )
    make_video(tmp_path / "a.mp4", frames(6, (64, 96)))
    monkeypatch.setattr(pipeline_overlap, "REPEATS", 1)
    words = [f"input={tmp_path / 'a.mp4'}", f"checkpoint={model}", f"output={tmp_path / 'out'}", "labels=true", "device=cpu"]
    monkeypatch.setattr(sys, "argv", ["pipeline_overlap.py", *words])
    pipeline_overlap.main()
    printed = capsys.readouterr().out
    assert "parallel: " in printed and "sequential: " in printed and "speed-up of parallel: " in printed
    one, other = (
        {path.name: path.read_bytes() for path in sorted((tmp_path / "out" / f"{name}_0" / "labels").iterdir())}
        for name in ("parallel", "sequential")
    )
    assert len(one) == 6 and one == other
