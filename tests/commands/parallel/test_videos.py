"""Many videos by workers of Ray equal those of one process, whatever dies or is broken."""

import json
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from src.command_line.composition import check_options
from src.commands.parallel.videos import predict_many
from src.commands.predict import batch_predictor, run
from src.inference.video.video_list import list_videos
from src.weights.model_folder import save_model
from tests.inference.engines.ray_work import killed_at_second_video
from tests.inference.tiny import CLASSES, FakeClips, frames, tiny_propagator
from tests.inference.videos import make_video

ROOT = Path(__file__).resolve().parents[3]


def config(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("predict", ["device=cpu", *overrides])


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("many")
    metadata = {"classes": CLASSES, "palette": FakeClips.palette, "short_side": 32}
    model = save_model(tiny_propagator("query"), folder / "model", metadata)
    (folder / "videos").mkdir()
    for name, length in {"a": 2, "b": 7, "c": 4}.items():
        make_video(folder / "videos" / f"{name}.mp4", frames(length, (48, 64)))
    (folder / "videos" / "broken.mp4").write_bytes(b"no video")
    return [f"input={folder / 'videos'}", f"checkpoint={model}", "labels=true", "threads=1"]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_workers_write_what_one_process_writes_although_one_is_killed(
    given: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray", reason="Ray is not installed (requirements-cluster.txt)")
    videos = list_videos(Path(given[0].removeprefix("input=")))
    assert videos is not None
    found: dict[str, Any] = {}
    ray = ["engine=ray", "engine.workers=2", "engine.retries=1"]
    for name, engine, predictor in (("one", [], batch_predictor), ("two", ray, killed_at_second_video)):
        found[name] = predict_many(config(*given, f"output={tmp_path / name}", *engine), videos, predictor, [])
    assert found["one"] == found["two"] and [one.status for one in found["two"]] == ["done", "done", "failed", "done"]
    assert (videos["a"].parent.parent / "flag").exists(), "a worker was killed"
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert {path.name for path in (tmp_path / "two").iterdir()} == {"a", "b", "c", "summary.json"}
    assert "broken" in json.loads((tmp_path / "two" / "summary.json").read_text())["outcomes"][2]["errors"][0]


def test_options_of_the_engine_are_checked(given: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"engine\.cpus is 0; expected"):
        check_options("predict", config(*given, "engine=ray", "engine.cpus=0"), [])
    single = [f"input={given[0].removeprefix('input=')}/a.mp4", *given[1:]]
    with pytest.raises(ValueError, match=r"engine is ray, and .*a\.mp4 is not a folder or list of videos; expected engine=local"):
        run(config(*single, "engine=ray"))
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="WORLD_SIZE is 2, so this command runs as often; expected once"):
        run(config(*given))
