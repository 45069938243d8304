"""The programs in examples/ run, on small data, and are as short as promised."""

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from examples import add_flow_estimator, label_video, score_predictions, sweep_key_intervals, train_own_data
from src import FixedInterval, Propagator, StreamingSegmentor, VideoWriter
from src.weights.model_folder import save_model
from tests.data.fake_layouts import write_label
from tests.inference.tiny import frames, tiny_propagator, tiny_segmentor

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
CLASSES = ("sky", "road", "tree", "car")


@pytest.fixture(scope="module")
def own_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two videos of 10 frames: a car of 16x24 pixels moves right by 2 pixels a frame."""
    root = tmp_path_factory.mktemp("own")
    (root / "classes.yaml").write_text("classes: [sky, road, tree, car]\n")
    for video in ("a", "b"):
        for frame in range(10):
            label = np.zeros((48, 64), np.uint8)
            label[24:], label[:24, 48:], label[20:36, 2 * frame : 2 * frame + 24] = 1, 2, 3
            write_label(root / "masks" / video / f"{frame}.png", label)
            image = np.random.default_rng(frame).integers(0, 40, (48, 64, 3)) + 60 * label[..., None]
            path = root / "frames" / video / f"{frame}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.astype(np.uint8)).save(path)
    for split in ("train", "val"):
        (root / f"{split}.txt").write_text("a\nb\n")
    return root


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "model"
    save_model(tiny_propagator("query"), folder, {"classes": list(CLASSES), "stage": "propagation"})
    return folder


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_an_example_is_short(path: Path) -> None:
    # Without torch, label maps and the runtime's arrays are part of the example.
    assert len(path.read_text().splitlines()) <= (46 if path.stem == "label_without_torch" else 25)


def test_a_video_is_labelled(tmp_path: Path, model: Path) -> None:
    with VideoWriter(tmp_path / "drive.mp4", 15) as video:
        for frame in frames(7):
            video.write(frame)
    label_video.main(str(tmp_path / "drive.mp4"), str(tmp_path / "overlay.mp4"), str(model))
    with av.open(str(tmp_path / "overlay.mp4")) as video:
        assert sum(1 for _ in video.decode(video=0)) == 7


def test_predictions_are_scored(tmp_path: Path, own_data: Path) -> None:
    assert score_predictions.main(str(own_data), str(own_data / "masks")) == {"mIoU": 1.0, "mVC8": 1.0}
    for path in (own_data / "masks").rglob("*.png"):
        wrong = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        wrong[:2] = 3
        write_label(tmp_path / path.relative_to(own_data / "masks"), wrong)
    assert 0.5 < score_predictions.main(str(own_data), str(tmp_path))["mIoU"] < 1.0


@pytest.mark.slow
def test_own_data_trains(tmp_path: Path, own_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    metrics = train_own_data.main(
        str(own_data), "debug=fast", "trainer.accelerator=cpu", "model/segmentor=lite0", "mask_loss.num_points=64",
        "data.train_transform.steps=[]", "model.segmentor.pretrained_backbone=false",
    )  # fmt: skip
    assert np.isfinite(metrics["train/loss"])
    assert (tmp_path / "outputs" / "own_data" / "segmentor" / "model" / "model.safetensors").is_file()


def test_a_new_flow_estimator_finds_a_translation_and_streams() -> None:
    rng = np.random.default_rng(0)
    picture = cv2.GaussianBlur(rng.integers(0, 256, (96, 160, 3), np.uint8), (0, 0), 2)
    key = torch.from_numpy(picture).permute(2, 0, 1)[None]
    nonkey = torch.roll(key, shifts=(4, 8), dims=(2, 3))  # down 4, right 8: the source lies up and left
    estimator = add_flow_estimator.GlobalTranslation()
    flow = estimator(key, nonkey, torch.zeros(1, 6, 32)).segment_flow
    assert flow.shape == (1, 1, 2, 24, 40)
    torch.testing.assert_close(4 * flow[0, 0, :, 0, 0], torch.tensor([-8.0, -4.0]), atol=0.1, rtol=0)
    stream = StreamingSegmentor(Propagator(tiny_segmentor(), estimator), FixedInterval(2))
    maps = list(stream.stream([key[0], nonkey[0]]))
    assert (maps[1] == torch.roll(maps[0], shifts=(4, 8), dims=(0, 1)))[16:-16, 16:-16].float().mean() > 0.95


def test_key_intervals_are_swept(tmp_path: Path, own_data: Path, model: Path) -> None:
    sweep_key_intervals.main(str(model), str(own_data), str(tmp_path / "intervals.png"), intervals=(1, 5))
    assert cv2.imread(str(tmp_path / "intervals.png")) is not None
