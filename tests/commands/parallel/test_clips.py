"""Sums over workers that evaluate one clip at a time equal the scores of one process, bit for bit."""

import json
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from src.commands.eval import evaluate
from src.commands.parallel import clips
from src.inference.engines.tasks import Build, LocalSession
from src.weights.model_folder import save_model
from tests.inference.tiny import CLASSES, tiny_propagator

ROOT = Path(__file__).resolve().parents[3]
DATA = ["data=moving_scenes", "~data.test", "+data.test={_target_: tests.inference.tiny.FakeClips, lengths: [5, 9, 3]}"]
EVALUATIONS = {
    "stream": ["methods=[per_frame,dis,query]", "key_intervals=[3]", "temporal_consistency=true"],
    "schedulers": ["methods=[query]", "key_intervals=[3]", "schedulers=[fixed,budget]", "interval_shifts=2"],
    "offline": ["methods=[query]", "key_intervals=[3]", "mode=offline", "fuse_keys=true"],
    "pairs": ["methods=[query]", "key_intervals=[2]", "protocol=pairs"],
}


@contextmanager
def one_worker(cfg: DictConfig, build: Build, local: Build) -> Iterator[LocalSession]:
    """Yield a worker that receives and returns copies, and takes the last clip first."""
    work = pickle.loads(pickle.dumps(build))()

    class Session(LocalSession):
        def run(self, tasks: Any, options: Any) -> Any:
            return super().run(sorted(tasks, reverse=True), options)

    yield Session(lambda: lambda task: pickle.loads(pickle.dumps(work(pickle.loads(pickle.dumps(task))))))


def scores_of(folder: Path, engine: str, *overrides: str) -> list[dict[str, Any]]:
    output = folder / f"{engine}.json"
    given = [*DATA, f"output={output}", f"engine={engine}", "threads=1", "device=cpu", *overrides]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        evaluate(compose("eval", given))
    found: Any = json.loads(output.read_text())
    rows: list[dict[str, Any]] = found if isinstance(found, list) else [found]
    return [{name: value for name, value in row.items() if not name.startswith("ms")} for row in rows]


@pytest.fixture
def model(tmp_path: Path) -> str:
    return f"checkpoint={save_model(tiny_propagator('query'), tmp_path / 'model', {'classes': CLASSES})}"


@pytest.mark.parametrize("name", EVALUATIONS)
def test_scores_are_those_of_one_process(name: str, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = scores_of(tmp_path, "local", model, *EVALUATIONS[name])
    monkeypatch.setattr(clips, "engine_session", one_worker)
    assert scores_of(tmp_path, "ray", model, *EVALUATIONS[name]) == alone and all(row["miou"] is not None for row in alone)


def test_saved_maps_and_their_scores_are_those_of_one_process(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {}
    for engine in ("local", "ray"):
        saved = ["methods=[query]", "key_intervals=[3]", f"save_predictions={tmp_path / engine}"]
        scores = scores_of(tmp_path, engine, model, *saved, "key_frame_offsets=first")
        maps = {path.relative_to(tmp_path / engine): path.read_bytes() for path in (tmp_path / engine).rglob("*.png")}
        of_files = scores_of(tmp_path, engine, f"predictions={tmp_path / 'local'}", "overwrite=true")
        found[engine] = (scores, maps, of_files)
        monkeypatch.setattr(clips, "engine_session", one_worker)
    assert found["local"] == found["ray"] and len(found["ray"][1]) == 17
