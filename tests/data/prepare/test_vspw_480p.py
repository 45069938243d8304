import numpy as np
import pytest
from PIL import Image

from src.data.datasets.vspw import VSPW
from src.data.prepare.vspw_480p import ResizeSettings, ResizeTask, copy_lists, open_tasks, resize_file, start_target
from src.files.images.readers import read_label_png, read_rgb
from tests.data.fake_layouts import label, write_image, write_label
from tests.files.images.make_images import exif, png

SMALL = ResizeSettings(short_side=12)


@pytest.fixture
def source(tmp_path):
    root = tmp_path / "full"
    for video, size in (("wide", (24, 41)), ("tall", (41, 24)), ("exact", (12, 17))):
        write_image(root / "data" / video / "origin" / "00000009.jpg", size=size, value=90)
        write_label(root / "data" / video / "mask" / "00000009.png", label(0, 3, 255, 124, size=size))
    (root / "val.txt").write_text("wide\ntall\nexact")
    return root


def prepare(source, target):
    start_target(source, target, SMALL)
    errors = [resize_file(task) for task in open_tasks(source, target, SMALL)]
    copy_lists(source, target)
    return errors


LANDSCAPE = [((1080, 1920), (480, 853)), ((720, 1280), (480, 853)), ((1080, 1906), (480, 847))]


@pytest.mark.parametrize(("size", "expected"), [*LANDSCAPE, ((1920, 1080), (853, 480)), ((300, 300), (480, 480))])
def test_sizes_are_those_of_the_published_480p_script(size, expected):
    """(int(480 * w / h), 480) for every video that is wider than high."""
    assert ResizeSettings().size_for(size) == expected
    if size[1] > size[0]:
        assert expected[1] == int(480 * size[1] / size[0])


def test_the_result_is_a_dataset_of_the_small_size(source, tmp_path):
    assert prepare(source, tmp_path / "small") == [None] * 6
    data = VSPW(tmp_path / "small", "val")
    assert [tuple(data.read_image(i, 0).shape[1:]) for i in range(3)] == [(12, 20), (20, 12), (12, 17)]
    for clip in range(3):
        assert set(data.read_label(clip, 0).unique().tolist()) == {2, 123, 255}


def test_masks_have_no_new_values_and_images_do(source, tmp_path):
    folder = source / "data/wide"
    Image.fromarray(np.tile(label(0, 200, size=(24, 41))[..., None], 3)).save(folder / "origin/00000010.png")
    image = Image.fromarray(label(1, 100, size=(24, 41)), mode="P")
    image.putpalette([255 - k // 3 for k in range(768)])
    image.save(folder / "mask/00000010.png")
    prepare(source, tmp_path / "small")
    made = tmp_path / "small/data/wide"
    assert np.unique(read_label_png(made / "mask/00000010.png")).tolist() == [1, 100]
    assert len(read_rgb(made / "origin/00000010.png").unique()) > 2


def test_sixteen_bit_masks_keep_their_values(tmp_path):
    write_label(tmp_path / "mask/a.png", np.full((24, 40), 12401, np.uint16))
    assert resize_file(ResizeTask(tmp_path / "mask/a.png", tmp_path / "b.png", SMALL)) is None
    assert np.unique(read_label_png(tmp_path / "b.png")).tolist() == [12401]


def test_masks_of_four_bits_keep_their_values_and_images_are_turned(tmp_path):
    values = label(1, 3, 2, size=(24, 40))
    (tmp_path / "mask").mkdir()
    (tmp_path / "mask/a.png").write_bytes(png(values, 4))
    assert resize_file(ResizeTask(tmp_path / "mask/a.png", tmp_path / "b.png", SMALL)) is None
    assert np.unique(read_label_png(tmp_path / "b.png")).tolist() == [1, 2, 3]
    Image.fromarray(np.zeros((40, 24, 3), np.uint8)).save(tmp_path / "c.jpg", exif=exif(6))
    assert resize_file(ResizeTask(tmp_path / "c.jpg", tmp_path / "d.jpg", SMALL)) is None
    assert read_rgb(tmp_path / "d.jpg").shape == (3, 12, 20)


def test_files_of_the_right_size_are_copied_byte_for_byte(source, tmp_path):
    prepare(source, tmp_path / "small")
    for part in ("origin/00000009.jpg", "mask/00000009.png"):
        assert (tmp_path / "small/data/exact" / part).read_bytes() == (source / "data/exact" / part).read_bytes()


def test_a_second_run_resizes_the_remaining_files(source, tmp_path):
    target = tmp_path / "small"
    prepare(source, target)
    assert list(open_tasks(source, target, SMALL)) == []
    gone = target / "data/wide/origin/00000009.jpg"
    before = gone.read_bytes()
    gone.unlink()
    assert [task.target for task in open_tasks(source, target, SMALL)] == [gone]
    prepare(source, target)
    assert gone.read_bytes() == before


def test_damaged_sources_are_named_and_leave_nothing(source, tmp_path):
    origin = source / "data/wide/origin"
    whole = (origin / "00000009.jpg").read_bytes()
    (origin / "00000009.jpg").write_bytes(whole[: len(whole) // 2])
    (origin / "00000010.jpg").touch()
    (origin / "00000011.jpg").symlink_to("nowhere.jpg")
    errors = [error for error in prepare(source, tmp_path / "small") if error]
    assert [error.split(" ")[0].split("/")[-1] for error in errors] == ["00000009.jpg", "00000010.jpg", "00000011.jpg"]
    assert ["cannot be decoded" in errors[0], "is empty" in errors[1], "does not exist" in errors[2]] == [True] * 3
    assert list((tmp_path / "small/data/wide").glob("origin/*")) == []


def test_other_folders_are_not_written_to(source, tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no data/; expected VSPW"):
        start_target(tmp_path, tmp_path / "small", SMALL)
    with pytest.raises(ValueError, match="is the source itself"):
        start_target(source, source / "data" / "..", SMALL)
    start_target(source, tmp_path / "small", SMALL)
    start_target(source, tmp_path / "small", SMALL)
    with pytest.raises(ValueError, match=r"prepared\.json contains .*12.*; expected .*13"):
        start_target(source, tmp_path / "small", ResizeSettings(short_side=13))
    with pytest.raises(ValueError, match=r"is not empty and holds no prepared\.json"):
        start_target(source, source / "data", SMALL)
    with pytest.raises(ValueError, match="jpeg_quality=0"):
        ResizeSettings(jpeg_quality=0)
