from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard
from PIL import Image

from src.weights.clip_folder import save_clip_model
from src.weights.hub.card import CURVE, INPUT, PREDICTION, CardFacts, write_card
from src.weights.model_folder import save_model
from tests.inference.tiny import CLASSES, tiny_propagator
from tests.models.clip_segmentors.tiny import tiny_mrcfa

METADATA = {
    "classes": CLASSES,
    "palette": [[1, 2, 3], [4, 5, 6], [7, 8, 9], [10, 11, 12]],
    "palette_chosen": True,
    "data": "camvid",
}


def row(method: str, key_interval: int, miou: float | None, **more: object) -> dict[str, object]:
    scores = {"miou": miou, "wiou": 0.9, "vc8": 0.8, "vc16": None, "gflops": 5.4}
    iou = {"sky": miou, "road": 0.25, "tree": None, "car": 0.5}
    return {"method": method, "key_interval": key_interval, "scheduler": "fixed", **scores, "iou_per_class": iou, **more}


ROWS = [
    row("per_frame", 1, 0.653),
    row("query", 2, 0.64, mode="online", data="kitti step"),
    row("query", 5, 0.6211, mode="offline", fusion="linear", fuse_keys=True),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_model(tiny_propagator(), tmp_path / "model", METADATA)


def test_the_hub_reads_license_scores_and_widget(folder: Path) -> None:
    Image.new("RGB", (8, 8)).save(folder / INPUT)
    write_card(folder, CardFacts("lab/streets", "mit", rows=ROWS))
    card = ModelCard.load(folder / "README.md")
    assert card.data.license == "mit" and card.data.library_name == "mpvss" and card.data.pipeline_tag == "image-segmentation"
    assert card.data.model_name == "streets" and card.data.widget == [{"src": INPUT, "example_title": "Frame"}]
    results = {one.metric_name: one.metric_value for one in card.data.eval_results or ()}
    assert results == {
        "mIoU, per_frame, key interval 1": 65.3,
        "mIoU, query, key interval 2": 64.0,
        "mIoU, query, offline, linear, fused keys, key interval 5": 62.11,
    }
    data = [(one.dataset_name, one.dataset_type) for one in card.data.eval_results or ()]
    assert sorted(data) == [("camvid", "camvid")] * 2 + [("kitti step", "kitti_step")]
    head = yaml.safe_load((folder / "README.md").read_text().split("---\n")[1])
    assert head["model-index"][0]["results"][0]["task"] == {"type": "image-segmentation"}


def test_a_reader_sees_data_classes_scores_cost_and_command(folder: Path) -> None:
    Image.new("RGB", (8, 8)).save(folder / PREDICTION)
    cost, parameters = {"key frame": 5.4, "other frame": 0.1234}, {"segmentor": 4.4, "flow": 1.0}
    facts = CardFacts(
        "lab/streets", command="python -m src.train a=b", code="abc", rows=ROWS, cost=cost, size=(360, 640), parameters=parameters
    )
    lines = [" ".join(line.replace("|", " ").split()) for line in write_card(folder, facts).read_text().splitlines()]
    for expected in (
        "# streets", "data camvid", "parameters segmentor 4.40 M, flow 1.00 M", "0 sky #010203",
        "3 car #0a0b0c", "key frame 5.40",
        "other frame 0.12", "per_frame 1 65.3 90.0 80.0 - 5.40", "road 25.0 25.0 25.0", "tree - - -", "python -m src.train a=b",
        "Commit of the code: `abc`.", "training have terms of their own.",
        "python -m src.predict input=video.mp4 checkpoint=lab/streets", f"![Prediction]({PREDICTION})", "flow query",
        "Billions of multiply-adds for a frame of 360x640 pixels.",
    ):  # fmt: skip
        assert any(line.endswith(expected) for line in lines), expected
    assert any(f"({CURVE})" in line for line in lines)
    with Image.open(folder / CURVE) as plot:
        assert plot.width > 100


def test_a_training_has_the_scores_of_its_validation(folder: Path) -> None:
    (folder / CURVE).write_bytes(b"of an earlier card")
    scores = {
        "val/miou": 0.5,
        "val/miou_offset_10": 0.4,
        "val/miou_offset_2": 0.45,
        "val/epe": 3.0,
        "val/miou_offset_3": float("nan"),
    }
    text = write_card(folder, CardFacts("lab/streets", validation=scores)).read_text()
    results = {one.metric_name: one.metric_value for one in ModelCard(text).data.eval_results or ()}
    assert list(results.values()) == [50.0, 45.0, 40.0] and "mIoU, validation, 10 frames from the key frame" in results
    with Image.open(folder / CURVE) as plot:
        assert plot.width > 100
    text = write_card(folder, CardFacts("lab/streets")).read_text()
    assert (
        not (folder / CURVE).exists()
        and "Scores" not in text
        and ModelCard(text).data.eval_results is None
        and "model_name" not in text
    )


def test_names_are_no_markup(tmp_path: Path) -> None:
    names = ["<img src=x>", "a | b", "line\nbreak", "car"]
    folder = save_model(tiny_propagator(), tmp_path / "model", {**METADATA, "classes": names, "data": "---\nlicense: other"})
    text = write_card(folder, CardFacts("lab/streets", "mit")).read_text()
    assert "<img" not in text and "a \\| b" in text and "line break" in text
    assert ModelCard(text).data.license == "mit"


def test_methods_of_an_evaluation_are_no_markup(folder: Path) -> None:
    text = write_card(folder, CardFacts("lab/streets", rows=[row("<img src=x>", 5, 0.5)])).read_text().split("---\n")[2]
    assert "<img" not in text and text.count("&lt;img src=x&gt;") == 2


def test_a_clip_segmentor_has_a_card(tmp_path: Path) -> None:
    folder = save_clip_model(tiny_mrcfa(), tmp_path / "model", METADATA)
    text = write_card(folder, CardFacts("lab/clips")).read_text()
    assert "from each frame and those before it" in text and "Propagator" not in text and ModelCard(text).data.tags
