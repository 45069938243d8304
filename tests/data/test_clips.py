import numpy as np
import pytest
import torch
from PIL import Image

from src.data.clips import FileClips, image_size, read_label_png, read_rgb, time_order
from src.structures import IGNORE_INDEX, Clip
from tests.data.fake_layouts import label, write_image, write_label

COLOURS = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)


def test_images_are_rgb_whatever_the_file(tmp_path):
    Image.fromarray(COLOURS).save(tmp_path / "rgb.png")
    Image.fromarray(COLOURS).convert("RGBA").save(tmp_path / "rgba.png")
    Image.fromarray(COLOURS[..., 0]).save(tmp_path / "grey.png")
    expected = torch.from_numpy(COLOURS).permute(2, 0, 1)
    assert torch.equal(read_rgb(tmp_path / "rgb.png"), expected)
    assert torch.equal(read_rgb(tmp_path / "rgba.png"), expected)
    assert torch.equal(read_rgb(tmp_path / "grey.png"), expected[:1].expand(3, -1, -1))
    assert image_size(tmp_path / "rgb.png") == (4, 6)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_labels_keep_their_values(tmp_path, dtype):
    values = np.array([[0, 1, 7], [254, 255, np.iinfo(dtype).max]], dtype)
    write_label(tmp_path / "label.png", values)
    read = read_label_png(tmp_path / "label.png")
    assert read.dtype == torch.int64
    assert read.tolist() == values.tolist()


@pytest.mark.parametrize("bits", [1, 8])
def test_a_palette_label_gives_indices_not_colours(tmp_path, bits):
    image = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8), mode="P")
    image.putpalette([9, 9, 9, 200, 100, 50])
    image.save(tmp_path / "label.png", bits=bits)
    assert read_label_png(tmp_path / "label.png").tolist() == [[0, 1], [1, 0]]


def test_a_coloured_label_is_refused(tmp_path):
    Image.fromarray(COLOURS).save(tmp_path / "label.png")
    with pytest.raises(ValueError, match=r"label\.png has colour channels"):
        read_label_png(tmp_path / "label.png")


@pytest.mark.parametrize("read", [read_rgb, read_label_png, image_size])
def test_missing_empty_and_foreign_files_are_named(tmp_path, read):
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("not an image")
    with pytest.raises(FileNotFoundError, match=r"none\.png does not exist"):
        read(tmp_path / "none.png")
    with pytest.raises(ValueError, match=r"empty\.png is empty"):
        read(tmp_path / "empty.png")
    with pytest.raises(ValueError, match=r"text\.png cannot be"):
        read(tmp_path / "text.png")


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_file_cut_anywhere_is_named_or_read_whole(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 255, (24, 24, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / f"whole.{suffix}")
    content, whole = (tmp_path / f"whole.{suffix}").read_bytes(), read_rgb(tmp_path / f"whole.{suffix}")
    refused = 0
    for length in range(1, len(content), 7):
        (tmp_path / f"cut.{suffix}").write_bytes(content[:length])
        try:
            assert torch.equal(read_rgb(tmp_path / f"cut.{suffix}"), whole)
        except ValueError as error:
            assert f"cut.{suffix}" in str(error)
            refused += 1
    assert refused > 0.9 * len(content) / 7


@pytest.fixture
def clips(tmp_path):
    write_image(tmp_path / "a.jpg")
    write_label(tmp_path / "a.png", label(0, 1, 2, 9))
    clip = Clip("a", (tmp_path / "a.jpg",) * 2, (tmp_path / "a.png", None))
    return FileClips([clip], ("x", "y"), ((1, 1, 1), (2, 2, 2)), 5.0, {0: IGNORE_INDEX, 1: 0, 2: 1, 9: IGNORE_INDEX})


def test_label_values_become_classes(clips):
    assert clips.num_classes == 2
    assert clips.read_label(0, 0)[0, ::4].tolist() == [IGNORE_INDEX, 0, 1, IGNORE_INDEX]
    assert clips.read_label(0, 0).dtype == torch.int64
    assert clips.read_flow(0, 1, 0) is None


@pytest.mark.parametrize("value", [3, 10, 300])
def test_a_label_value_out_of_range_is_named_with_the_file(clips, tmp_path, value):
    values = label(1).astype(np.uint16)
    values[3, 4] = value
    write_label(tmp_path / "a.png", values)
    with pytest.raises(ValueError, match=rf"a\.png: label value {value} \(1 such pixels out of range\); expected 0\.\.2, 9"):
        clips.read_label(0, 0)


def test_a_label_of_another_size_names_both_files(clips, tmp_path):
    write_label(tmp_path / "a.png", label(1, size=(10, 16)))
    with pytest.raises(ValueError, match=r"a\.png is 10x16 .*a\.jpg is 12x16"):
        clips.read_label(0, 0)


def test_a_frame_without_label_says_so(clips):
    with pytest.raises(ValueError, match="frame 1 of clip a has no label"):
        clips.read_label(0, 1)


def test_frames_order_by_number(tmp_path):
    names = ["f_2.jpg", "f_10.jpg", "f_009.jpg", "a.jpg"]
    assert [p.name for p in sorted((tmp_path / n for n in names), key=time_order)] == [
        "a.jpg",
        "f_2.jpg",
        "f_009.jpg",
        "f_10.jpg",
    ]
