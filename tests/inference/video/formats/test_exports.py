"""The law of exports: each file, read by the library that defines its format, gives the predicted label maps."""

import csv
import json
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from src.files.images.readers import read_label_png
from src.files.video.label_video import read_label_video
from src.inference.video.formats.exported import ExportedFrame
from src.inference.video.formats.exports import FORMATS, Exports, check_classes, check_installed
from src.inference.video.outputs import OutputOptions, VideoOutputs
from src.inference.video.prediction import FramePrediction
from src.inference.video.sources import Frame, SourceInfo
from src.ops.polygons import Polygon
from tests.inference.tiny import CLASSES, FakeClips
from tests.ops.test_polygons import rasterized

SIZE = (21, 34)
INFO = SourceInfo("clip.mp4", Fraction(25), Fraction(1, 1000))
Maps = list[NDArray[Any]]


def label_maps(num_classes: int = len(CLASSES), count: int = 3) -> Maps:
    """Regions with holes, single pixels and absent classes."""
    rng = np.random.default_rng(num_classes)
    rough = [np.kron(rng.integers(0, num_classes, (3, 2)), np.ones((7, 17), int)) for _ in range(count)]
    noise = [rng.integers(0, num_classes, SIZE) for _ in range(count)]
    return [np.where(rng.random(SIZE) < 0.1, other, labels) for labels, other in zip(rough, noise, strict=True)]


def export(
    folder: Path,
    maps: Maps,
    exports: tuple[str, ...] = tuple(FORMATS),
    classes: tuple[str, ...] = CLASSES,
    palette: Any = FakeClips.palette,
    info: SourceInfo = INFO,
) -> Path:
    with VideoOutputs(folder, info, classes, palette, OutputOptions(legend="off", exports=exports)) as outputs:
        for i, labels in enumerate(maps):
            dtype = torch.uint8 if len(classes) <= 256 else torch.int32
            frame = Frame(torch.zeros(3, *labels.shape, dtype=torch.uint8), f"f {i} & <x>.{i}", Fraction(i, 25), Fraction(1, 25))
            outputs.write(FramePrediction(frame, torch.from_numpy(labels).to(dtype), i == 0, None, None, 0.0))
        outputs.finish()
    return folder


def of_palette(folder: Path) -> Maps:
    files = sorted((folder / "palette").iterdir())
    assert all(Image.open(path).mode == "P" for path in files)
    return [np.asarray(Image.open(path)) for path in files]


def of_video(folder: Path) -> Maps:
    return [frame.labels for frame in read_label_video(folder / "labels.mkv")]


def of_coco(folder: Path) -> Maps:
    coco, maps = pytest.importorskip("pycocotools.coco").COCO(str(folder / "coco.json")), []
    for number in sorted(coco.getImgIds()):
        image = coco.loadImgs(number)[0]
        labels = np.full((image["height"], image["width"]), 255)
        for annotation in coco.loadAnns(coco.getAnnIds(imgIds=number)):
            mask = coco.annToMask(annotation).astype(bool)
            assert (labels[mask] == 255).all() and mask.sum() == annotation["area"]
            labels[mask] = annotation["category_id"] - 1
        maps.append(labels)
    return maps


def of_panoptic(folder: Path) -> Maps:
    content, maps = json.loads((folder / "panoptic.json").read_text()), []
    assert [image["id"] for image in content["images"]] == [one["image_id"] for one in content["annotations"]]
    for annotation in content["annotations"]:
        red, green, blue = np.moveaxis(np.asarray(Image.open(folder / "panoptic" / annotation["file_name"])).astype(int), -1, 0)
        ids = red + 256 * green + 65536 * blue
        labels = np.full(ids.shape, 255)
        for segment in annotation["segments_info"]:
            mask = ids == segment["id"]
            rows, columns = np.nonzero(mask)
            x, y, width, height = segment["bbox"]
            assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (x, y, x + width, y + height)
            assert mask.sum() == segment["area"]
            labels[mask] = segment["category_id"] - 1
        assert set(np.unique(ids)) - {0} == {segment["id"] for segment in annotation["segments_info"]}
        maps.append(labels)
    return maps


def of_geojson(folder: Path) -> Maps:
    content = json.loads((folder / "polygons.geojson").read_text())
    assert content["type"] == "FeatureCollection" and "pixels" in content["coordinate_system"]
    frames: dict[int, dict[int, list[Polygon]]] = {}
    for feature in content["features"]:
        rings = [np.array(ring) for ring in feature["geometry"]["coordinates"]]
        assert all((ring[0] == ring[-1]).all() for ring in rings)
        exterior, *holes = (ring[:-1] for ring in rings)
        regions = frames.setdefault(feature["properties"]["frame"], {}).setdefault(feature["properties"]["class_id"], [])
        regions.append(Polygon(exterior, tuple(holes)))
    return [rasterized(frames[number], SIZE, background=255) for number in sorted(frames)]


def of_cvat(folder: Path) -> Maps:
    """Read the fields that docs.cvat.ai/docs/other/xml_format describes."""
    root, maps = ElementTree.parse(folder / "cvat.xml").getroot(), []
    names = [label.findtext("name") for label in root.iterfind("meta/task/labels/label")]
    assert root.findtext("version") == "1.1"
    for image in root.iterfind("image"):
        labels = np.full((int(image.attrib["height"]), int(image.attrib["width"])), 255)
        for mask in image.iterfind("mask"):
            left, top, width, height = (int(mask.attrib[name]) for name in ("left", "top", "width", "height"))
            runs = [int(run) for run in mask.attrib["rle"].split(",")]
            pixels = np.repeat(np.arange(len(runs)) % 2, runs).reshape(height, width).astype(bool)
            part = labels[top : top + height, left : left + width]
            assert (part[pixels] == 255).all()
            part[pixels] = names.index(mask.attrib["label"])
        maps.append(labels)
    return maps


READERS: dict[str, Callable[[Path], Maps]] = {
    "palette": of_palette, "label_video": of_video, "coco": of_coco, "panoptic": of_panoptic,
    "geojson": of_geojson, "cvat": of_cvat,
}  # fmt: skip


@pytest.mark.parametrize("name", READERS)
def test_every_format_gives_the_label_maps_back(tmp_path: Path, name: str) -> None:
    maps = label_maps()
    found = READERS[name](export(tmp_path, maps, (name,)))
    for labels, expected in zip(found, maps, strict=True):
        np.testing.assert_array_equal(labels, expected)


@pytest.mark.parametrize("name", READERS)
def test_pixels_without_a_class_stay_so(tmp_path: Path, name: str) -> None:
    """The background of a model of one class is 255."""
    maps = [255 * labels for labels in label_maps(2)]
    found = READERS[name](export(tmp_path, maps, (name,), ("crack",), FakeClips.palette[:1]))
    for labels, expected in zip(found, maps, strict=True):
        np.testing.assert_array_equal(labels, expected)


@pytest.mark.parametrize("name", sorted(READERS.keys() - {"palette"}))
def test_more_than_256_classes(tmp_path: Path, name: str) -> None:
    classes = tuple(f"class {label}" for label in range(300))
    maps = label_maps(300)
    found = READERS[name](export(tmp_path, maps, (name,), classes, [(label % 256, label // 256, 0) for label in range(300)]))
    for labels, expected in zip(found, maps, strict=True):
        np.testing.assert_array_equal(labels, expected)


def test_frames_keep_their_names_and_times(tmp_path: Path) -> None:
    pytest.importorskip("pycocotools")
    export(tmp_path, label_maps(), ("coco", "cvat", "geojson", "palette"))
    names = [f"f {i} & <x>.{i}" for i in range(3)]
    images = json.loads((tmp_path / "coco.json").read_text())["images"]
    assert [(image["file_name"], image["seconds"]) for image in images] == [
        (f"{name}.png", i / 25) for i, name in enumerate(names)
    ]
    found = [image.attrib["name"] for image in ElementTree.parse(tmp_path / "cvat.xml").getroot().iterfind("image")]
    assert found == [f"{name}.png" for name in names]
    features = json.loads((tmp_path / "polygons.geojson").read_text())["features"]
    assert {feature["properties"]["name"] for feature in features} == set(names)
    assert read_label_png(tmp_path / "palette" / f"{names[0]}.png").shape == SIZE


def test_categories_are_the_classes_in_their_colors(tmp_path: Path) -> None:
    pytest.importorskip("pycocotools")
    export(tmp_path, label_maps(), ("coco", "panoptic", "cvat", "palette"))
    for name in ("coco.json", "panoptic.json"):
        categories = json.loads((tmp_path / name).read_text())["categories"]
        found = [(one["id"], one["name"], tuple(one["color"])) for one in categories]
        assert found == [(label + 1, CLASSES[label], tuple(FakeClips.palette[label])) for label in range(len(CLASSES))]
    colors = [label.findtext("color") for label in ElementTree.parse(tmp_path / "cvat.xml").getroot().iter("label")]
    assert colors == ["#" + bytes(color).hex() for color in FakeClips.palette]
    picture = Image.open(sorted((tmp_path / "palette").iterdir())[0])
    np.testing.assert_array_equal(np.array(picture.convert("RGB")), np.array(FakeClips.palette)[np.asarray(picture)])


def test_sizes_may_change(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("pycocotools")
    maps = [label_maps()[0], np.repeat(np.repeat(label_maps()[1], 2, axis=0), 2, axis=1)]
    export(tmp_path, maps, ("coco", "label_video"))
    for labels, expected in zip(of_coco(tmp_path), maps, strict=True):
        np.testing.assert_array_equal(labels, expected)
    np.testing.assert_array_equal(of_video(tmp_path)[1], label_maps()[1])
    assert "resized in a label video of 21x34" in caplog.text


def test_a_picture_is_one_frame(tmp_path: Path) -> None:
    maps = label_maps(count=1)
    export(tmp_path, maps, ("label_video", "geojson"), info=replace(INFO, is_picture=True))
    np.testing.assert_array_equal(of_video(tmp_path)[0], maps[0])
    np.testing.assert_array_equal(of_geojson(tmp_path)[0], maps[0])


def test_the_table_of_detections_is_that_of_supervision(tmp_path: Path) -> None:
    pytest.importorskip("supervision")
    maps = label_maps()
    export(tmp_path, maps, ("detections",))
    with (tmp_path / "detections.csv").open(encoding="utf-8", newline="") as table:
        rows = list(csv.DictReader(table))
    for number, labels in enumerate(maps):
        for label, name in enumerate(CLASSES):
            of_class = [row for row in rows if row["frame"] == str(number) and row["class_name"] == name]
            assert sum(int(row["pixels"]) for row in of_class) == (labels == label).sum()
            assert {int(row["class_id"]) for row in of_class} <= {label}


def test_memory_does_not_grow_with_the_frames(tmp_path: Path) -> None:
    pytest.importorskip("pycocotools")
    pytest.importorskip("supervision")
    maps = label_maps()
    exports = Exports(tmp_path, tuple(FORMATS.keys() - {"palette", "panoptic"}), INFO, CLASSES, FakeClips.palette)
    tracemalloc.start()
    held = []
    for i in range(61):
        exports.write(ExportedFrame(i, f"{i:06}", Fraction(i, 25), Fraction(1, 25), maps[i % 3].astype(np.uint8)))
        if i in (20, 60):
            held.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    exports.close()
    assert held[1] - held[0] < sum(path.stat().st_size for path in tmp_path.iterdir()) / 10


def test_an_export_that_ends_early_leaves_no_open_file(tmp_path: Path) -> None:
    """Also where nothing was written: a source without a frame."""
    with VideoOutputs(tmp_path, INFO, CLASSES, FakeClips.palette, OutputOptions(exports=("geojson", "cvat", "label_video"))):
        pass
    assert not list(tmp_path.glob("*.mkv"))


def test_a_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    check_installed(["palette", "label_video", "panoptic", "geojson", "cvat"])
    with pytest.raises(ModuleNotFoundError, match=r"exports=\[coco\] needs it: pip install -r requirements-exports\.txt"):
        check_installed(["cvat", "coco"])


def test_a_palette_of_more_than_256_colors_is_refused() -> None:
    check_classes(["palette"], 256)
    check_classes(["coco"], 257)
    with pytest.raises(ValueError, match="the model has 257 classes; expected at most 256"):
        check_classes(["coco", "palette"], 257)
