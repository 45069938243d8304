"""Laws of class colors: the name decides, no two classes share a color, and colors of our own differ clearly over an image."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from src.data.datasets.cityscapes import CLASSES as CITYSCAPES
from src.data.datasets.vspw import VSPW_CLASSES
from src.data.synthetic.scenes.shapes import SCENE_CLASSES
from src.visualization.class_colors import class_palette, distinct_palette
from src.visualization.palette import DEFAULT_ALPHA

CAMVID = ("sky", "building", "pole", "road", "pavement", "tree", "sign_symbol", "fence", "car", "pedestrian", "bicyclist")


def lab_of(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convert (N, 3) RGB 0..255 to CIE Lab."""
    return np.asarray(cv2.cvtColor((rgb[None] / 255).astype(np.float32), cv2.COLOR_RGB2LAB)[0], np.float64)


def ciede2000(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Color difference of Lab colors, (..., 3) each (Sharma, Wu and Dalal, 2005)."""
    (l1, a1, b1), (l2, a2, b2) = np.moveaxis(one, -1, 0), np.moveaxis(other, -1, 0)
    mean = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2
    stretch = 1.5 - np.sqrt(mean**7 / (mean**7 + 25.0**7)) / 2
    c1, c2 = np.hypot(stretch * a1, b1), np.hypot(stretch * a2, b2)
    h1, h2 = (np.degrees(np.arctan2(b, stretch * a)) % 360 for a, b in ((a1, b1), (a2, b2)))
    turn = (h2 - h1 + 180) % 360 - 180
    light, chroma, hue = l2 - l1, c2 - c1, 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2))
    l_mean, c_mean, h_mean = (l1 + l2) / 2, (c1 + c2) / 2, (h1 + turn / 2) % 360
    weight = 1 - 0.17 * np.cos(np.radians(h_mean - 30)) + 0.24 * np.cos(np.radians(2 * h_mean))
    weight += 0.32 * np.cos(np.radians(3 * h_mean + 6)) - 0.2 * np.cos(np.radians(4 * h_mean - 63))
    light /= 1 + 0.015 * (l_mean - 50) ** 2 / np.sqrt(20 + (l_mean - 50) ** 2)
    chroma /= 1 + 0.045 * c_mean
    hue /= 1 + 0.015 * c_mean * weight
    rotation = 2 * np.sqrt(c_mean**7 / (c_mean**7 + 25.0**7)) * np.sin(np.radians(60 * np.exp(-(((h_mean - 275) / 25) ** 2))))
    return np.sqrt(light**2 + chroma**2 + hue**2 - rotation * chroma * hue)


@pytest.mark.parametrize(
    ("one", "other", "difference"),
    [
        ((50.0, 2.6772, -79.7751), (50.0, 0.0, -82.7485), 2.0425),
        ((50.0, 2.5, 0.0), (73.0, 25.0, -18.0), 27.1492),
        ((50.0, 2.5, 0.0), (58.0, 24.0, 15.0), 19.4535),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
        ((22.7233, 20.0904, -46.694), (23.0331, 14.973, -42.5619), 2.0373),
        ((2.0776, 0.0795, -1.135), (0.9033, -0.0636, -0.5514), 0.9082),
    ],
)
def test_the_difference_is_that_of_published_pairs(one: tuple[float, ...], other: tuple[float, ...], difference: float) -> None:
    assert ciede2000(np.array(one), np.array(other)) == pytest.approx(difference, abs=1e-4)


@pytest.mark.parametrize("count", [2, 11, 20])
def test_own_colors_differ_by_15_over_mid_grey(count: int) -> None:
    colors = np.array(class_palette([f"unheard-of {k}" for k in range(count)]), np.float64)
    lab = lab_of((1 - DEFAULT_ALPHA) * 128 + DEFAULT_ALPHA * colors)
    apart = ciede2000(lab[:, None], lab[None]) + 1e9 * np.eye(count)
    assert apart.min() >= 15


def test_a_class_keeps_its_own_color_when_classes_are_added() -> None:
    assert distinct_palette(124)[:19] == distinct_palette(19)


@pytest.mark.parametrize("count", [-1, 513])
def test_impossible_counts_are_refused(count: int) -> None:
    with pytest.raises(ValueError, match=f"num_classes is {count}"):
        distinct_palette(count)


def test_cityscapes_classes_have_its_colors_in_every_data_set() -> None:
    own = dict(zip((c.name for c in CITYSCAPES), class_palette([c.name for c in CITYSCAPES]), strict=True))
    assert (own["road"], own["vegetation"], own["bicycle"]) == ((128, 64, 128), (107, 142, 35), (119, 11, 32))
    camvid = dict(zip(CAMVID, class_palette(CAMVID), strict=True))
    translated = {"pavement": "sidewalk", "tree": "vegetation", "sign_symbol": "traffic sign", "pedestrian": "person"}
    for name in CAMVID:
        assert camvid[name] == own[{**translated, "bicyclist": "rider"}.get(name, name)]
    assert class_palette(["Road, route", "TRAFFIC_LIGHT"]) == (own["road"], own["traffic light"])


def test_other_names_have_the_colors_of_vspw_and_ade20k() -> None:
    assert class_palette(["escalator", "Playground_slide", "chandelier"]) == ((120, 120, 80), (140, 140, 140), (0, 31, 255))


@pytest.mark.parametrize("choice", ["names", "dataset"])
@pytest.mark.parametrize(
    "classes", [VSPW_CLASSES, CAMVID, SCENE_CLASSES, ("tree", "vegetation", "trees", "bush"), ("a", "a", "b"), ()]
)
def test_no_two_classes_share_a_color(classes: tuple[str, ...], choice: str) -> None:
    palette = class_palette(classes, choice=choice)
    assert len(set(palette)) == len(palette) == len(classes)
    assert not {(0, 0, 0), (255, 255, 255), (128, 128, 128)} & set(palette) or choice == "dataset"


def test_the_exact_name_comes_before_a_synonym() -> None:
    assert class_palette(["tree", "vegetation"])[1] == (107, 142, 35)


def test_dataset_means_the_published_colors_of_the_set_that_has_all_classes() -> None:
    assert class_palette(CAMVID, choice="dataset")[:2] == ((128, 128, 128), (128, 0, 0))
    assert class_palette(SCENE_CLASSES, choice="dataset")[1] == (110, 150, 70)
    assert class_palette(VSPW_CLASSES, choice="dataset")[1] == (180, 120, 120)
    assert class_palette([*CAMVID, "dragon"], choice="dataset")[1] == (70, 70, 70)


@pytest.mark.parametrize("choice", ["names", "dataset"])
def test_chosen_colors_count_with_both_choices_and_are_not_given_twice(choice: str) -> None:
    palette = class_palette(["road", "car", "dragon"], (None, (128, 64, 128), None), choice)
    assert palette[1] == (128, 64, 128) and len(set(palette)) == 3
    with pytest.raises(ValueError, match="2 class names but 1 colors"):
        class_palette(["road", "car"], [(1, 2, 3)], choice)
