"""Laws of ``what=break_even``: any model and clip has its rows, and at key interval 1 everything is kept."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from PIL import Image

from src.commands.benchmark import benchmark
from src.weights.model_folder import save_model
from tests.inference.tiny import frames, tiny_propagator
from tests.tiny_run import NETWORKS, ROOT, SCENES

SHORT = ["what=break_even", "warmup=0", "repeats=1", "device=cpu", "threads=1", "break_even.key_intervals=[1,3]"]


@pytest.fixture(autouse=True)
def _hydra() -> Iterator[None]:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        yield


def run(*overrides: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = benchmark(compose("benchmark", [*SHORT, *overrides]))  # type: ignore[assignment]
    return rows


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return Path(save_model(tiny_propagator("query"), tmp_path / "model", {"stage": "propagation", "short_side": 48}))


def test_a_checkpoint_without_a_clip_is_measured_at_its_size(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "even.json"
    rows = run(f"checkpoint={model}", f"output={output}", "break_even.fps=10")
    assert json.loads(output.read_text()) == rows and output.with_suffix(".csv").is_file()
    assert [(row["mode"], row["key_interval"]) for row in rows] == [(mode, k) for mode in ("online", "offline") for k in (1, 3)]
    # 480x853 at a short side of 48.
    assert {row["input_size"] for row in rows} == {"48x85"} and {row["flow"] for row in rows} == {"QueryFlow"}
    online, offline = rows[1], rows[3]
    assert online["ms"] == pytest.approx((online["key_ms"] + 2 * online["carried_ms"]) / 3)
    assert rows[0]["gflops"] == rows[2]["gflops"] > offline["gflops"] > online["gflops"] > 0
    assert (online["delay_frames"], offline["delay_frames"], offline["delay_s"], offline["kept"]) == (0, 2, 0.2, None)
    printed = capsys.readouterr().out
    assert "online: carrying" in printed and "offline: carrying" in printed


def test_an_experiment_keeps_its_flow_unless_another_is_chosen() -> None:
    networks = ["model/segmentor=tiny", "model/flow=copy", "size=[48,64]"]
    assert {row["flow"] for row in run(*networks)} == {"CopyFlow"}
    assert {row["flow"] for row in run(*networks, "flow=dis")} == {"DISFlow"}


def test_a_video_without_labels_is_scored_by_agreement(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for number, image in enumerate(frames(8, (48, 64))):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / f"{number}.png")
    rows = run(f"checkpoint={model}", f"break_even.clip={folder}", "break_even.max_frames=5", "flow=copy")
    assert [row["kept"] for row in rows[::2]] == [1.0, 1.0] and {row["miou"] for row in rows} == {None}
    assert all(0 < row["kept"] < 1 and row["kept"] == row["agreement"] for row in rows[1::2])
    assert rows[0]["clip"] == str(folder) and rows[0]["input_size"] == "48x64"


def test_a_clip_of_the_data_is_scored_by_its_labels(tmp_path: Path) -> None:
    rows = run(f"paths.data={tmp_path}", *SCENES, *NETWORKS, "break_even.clip=0", "break_even.max_frames=4")
    assert rows[0]["kept"] == rows[2]["kept"] == 1 and rows[0]["miou"] == rows[2]["miou"] > 0
    assert rows[1]["kept"] == pytest.approx(rows[1]["miou"] / rows[0]["miou"])
    with pytest.raises(ValueError, match="no clip '7'; expected one of the 1 names"):
        run(f"paths.data={tmp_path}", *SCENES, *NETWORKS, "break_even.clip=7")


def test_contradictions_are_refused(model: Path, tmp_path: Path) -> None:
    Image.new("RGB", (64, 48)).save(tmp_path / "one.png")
    with pytest.raises(ValueError, match=r"size=\[48, 64\] and break_even.clip=0; expected only one of them"):
        run(f"checkpoint={model}", "size=[48,64]", "break_even.clip=0")
    with pytest.raises(ValueError, match=r"one\.png has 1 frames; expected at least 2"):
        run(f"checkpoint={model}", f"break_even.clip={tmp_path / 'one.png'}")
    with pytest.raises(ValueError, match="the model has 4 classes, the data 8; expected the same ones"):
        run(f"checkpoint={model}", f"paths.data={tmp_path}", *SCENES, "break_even.clip=0")
