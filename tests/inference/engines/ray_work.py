"""Work of the tests of Ray, imported by its workers."""

import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from src.inference.video.batch import BatchPredictor, Video, VideoOutcome


def build(folder: Path) -> Callable[[str], Any]:
    """Return a function that kills its process at the first ``killed``, fails at ``broken``, and returns where it ran."""
    return partial(_work, folder)


def _work(folder: Path, task: str) -> tuple[str, int, str]:
    if task == "killed":
        kill_once(folder / "flag")
    if task == "broken":
        raise ValueError("no such clip")
    return task, os.getpid(), str(Path.cwd())


def killed_at_second_video(settings: dict[str, Any]) -> Callable[[Video], VideoOutcome]:
    """Load the predictor of a configuration, whose first worker is killed between the frames of the video ``b``."""
    from src.commands.predict import batch_predictor

    predictor = batch_predictor(settings)

    def predict_one(video: Path, folder: Path) -> Any:
        result = predictor.predict(video, folder)
        if video.stem == "b":
            kill_once(video.parent.parent / "flag")
        return result

    return BatchPredictor(predictor.output, predict_one, predictor.settings, predictor.overwrite, predictor.names)


def kill_once(flag: Path) -> None:
    if not flag.exists():
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)
