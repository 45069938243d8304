import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from src.data.datasets.cityscapes import Cityscapes
from src.data.prepare.cityscapes_archive import extract_entries, plan_extraction
from tests.data.fake_layouts import label


def png(values):
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()


def image_name(number, split="train", sequence="000000"):
    return f"leftImg8bit_sequence/{split}/ulm/ulm_{sequence}_{number:06d}_leftImg8bit.png"


def label_name(number, split="train", sequence="000000", kind="labelIds.png"):
    return f"gtFine/{split}/ulm/ulm_{sequence}_{number:06d}_gtFine_{kind}"


def write_zip(path, names, content=b"x"):
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, content)
    return path


@pytest.fixture
def archives(tmp_path):
    """Two snippets of a long recording, one at the start of another, and one of the other split."""
    frames = [image_name(n) for n in range(274, 334)] + [image_name(n, sequence="000001") for n in range(20)]
    frames += [image_name(n, "val") for n in range(30)]
    labels = [label_name(293), label_name(323), label_name(4, sequence="000001"), label_name(19, "val")]
    others = [label_name(293, kind=kind) for kind in ("color.png", "instanceIds.png", "polygons.json")]
    images = write_zip(tmp_path / "seq.zip", ["README", "license.txt", *frames], png(np.zeros((4, 6, 3), np.uint8)))
    return [images, write_zip(tmp_path / "gt.zip", [*labels, *others], png(label(7, 33, size=(4, 6))))]


@pytest.mark.parametrize(("key_interval", "pair_range", "before"), [(5, 0, 4), (5, 10, 10), (12, 10, 11), (1, 0, 0)])
def test_only_the_frames_that_are_read_are_planned(archives, tmp_path, key_interval, pair_range, before):
    plan = plan_extraction(archives, tmp_path / "out", ["train"], key_interval, pair_range)
    names = {entry.name for entry in plan.entries}
    expected = {image_name(n) for last in (293, 323) for n in range(last - before, last + 1)}
    expected |= {image_name(n, sequence="000001") for n in range(max(0, 4 - before), 5)}
    assert names == expected | {label_name(293), label_name(323), label_name(4, sequence="000001")}
    assert (plan.labelled, plan.without_image, plan.shortened) == (3, (), int(before > 4))
    assert plan.wanted_bytes < plan.total_bytes


def test_triplets_read_frames_after_the_label(archives, tmp_path):
    plain, plan = (plan_extraction(archives, tmp_path / "out", ["train"], 5, 4, after) for after in (0, 2))
    added = {entry.name for entry in plan.entries} - {entry.name for entry in plain.entries}
    assert added == {image_name(n) for n in (294, 295, 324, 325)} | {image_name(n, sequence="000001") for n in (5, 6)}
    assert (plan.labelled, plan.without_image, plan.shortened) == (3, (), 0)
    # The recordings end 10 and 15 frames after their last label.
    assert plan_extraction(archives, tmp_path / "out", ["train"], 5, 4, 12).shortened == 1


def test_extracted_files_are_a_dataset(archives, tmp_path):
    plan = plan_extraction(archives, tmp_path / "out", ["train", "val"], 5, 3)
    assert sum(extract_entries(plan.entries, tmp_path / "out")) == plan.wanted_bytes
    data = Cityscapes(tmp_path / "out", "train")
    assert [(clip.name, len(clip), clip.labelled_frames) for clip in data.clips] == [
        ("ulm_000000_000293", 5, (4,)),
        ("ulm_000000_000323", 5, (4,)),
        ("ulm_000001_000004", 5, (4,)),
    ]
    assert data.read_label(0, 4).unique().tolist() == [0, 18]
    assert len(list((tmp_path / "out").rglob("*.*"))) == len(plan.entries)


def test_complete_files_are_kept(archives, tmp_path):
    plan = plan_extraction(archives, tmp_path / "out", ["val"], 2, 1)
    list(extract_entries(plan.entries, tmp_path / "out"))
    kept, cut = tmp_path / "out" / image_name(18, "val"), tmp_path / "out" / image_name(19, "val")
    whole = cut.read_bytes()
    kept.write_bytes(b"y" * len(whole))
    cut.write_bytes(b"short")
    list(extract_entries(plan.entries, tmp_path / "out"))
    assert kept.read_bytes() == b"y" * len(whole)
    assert cut.read_bytes() == whole


def test_extracted_labels_are_used(archives, tmp_path):
    with zipfile.ZipFile(archives[1]) as archive:
        archive.extractall(tmp_path / "out")
    plan = plan_extraction(archives[:1], tmp_path / "out", ["val"], 3, 0)
    assert [entry.name for entry in plan.entries] == [image_name(n, "val") for n in (17, 18, 19)]


def test_a_label_without_its_frame_is_named(archives, tmp_path):
    short = write_zip(tmp_path / "short.zip", [image_name(n) for n in range(280, 293)])
    plan = plan_extraction([short, archives[1]], tmp_path / "out", ["train"], 5, 0)
    assert plan.without_image == (label_name(293), label_name(323), label_name(4, sequence="000001"))


TRAVERSAL = "leftImg8bit_sequence/train/../../../ulm_000000_000000_leftImg8bit.png"


@pytest.mark.parametrize("name", ["../evil.png", "/etc/evil.png", "a\\..\\evil.png", "C:/evil.png", TRAVERSAL])
def test_an_archive_with_an_entry_outside_its_folder_is_refused(archives, tmp_path, name):
    evil = write_zip(tmp_path / "evil.zip", [image_name(293), name])
    with pytest.raises(ValueError, match=r"evil\.zip: entry .* is outside its folder"):
        plan_extraction([evil, archives[1]], tmp_path / "out", ["train"], 5, 0)
    assert not (tmp_path / "out").exists()


def test_a_link_in_an_archive_is_extracted_as_a_file(archives, tmp_path):
    info = zipfile.ZipInfo(image_name(293))
    info.create_system, info.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    plan = plan_extraction([tmp_path / "link.zip", archives[1]], tmp_path / "out", ["train"], 1, 0)
    list(extract_entries(plan.entries, tmp_path / "out"))
    assert not (tmp_path / "out" / image_name(293)).is_symlink()


def test_damaged_archives_are_named_and_leave_nothing(archives, tmp_path):
    plan = plan_extraction(archives, tmp_path / "out", ["val"], 1, 0)
    content = archives[0].read_bytes()
    pixels = png(np.zeros((4, 6, 3), np.uint8))
    archives[0].write_bytes(content.replace(pixels, pixels[:-9] + b"!" + pixels[-8:]))
    with pytest.raises(ValueError, match=r"seq\.zip: leftImg8bit_sequence/val/.*cannot be extracted .*CRC"):
        list(extract_entries(plan.entries, tmp_path / "out"))
    assert [path.name for path in (tmp_path / "out").rglob("*_leftImg8bit*")] == []
    archives[0].write_bytes(content[:-30])
    with pytest.raises(ValueError, match=r"seq\.zip is not a complete zip file"):
        plan_extraction(archives, tmp_path / "out", ["val"], 1, 0)


def test_an_entry_that_cannot_be_inflated_is_named(archives, tmp_path):
    name = image_name(19, "val")
    packed = tmp_path / "packed.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, bytes(1000))
    plan = plan_extraction([packed, archives[1]], tmp_path / "out", ["val"], 1, 0)
    content = bytearray(packed.read_bytes())
    content[30 + len(name)] = 0xFF
    packed.write_bytes(content)
    with pytest.raises(ValueError, match=r"packed\.zip: leftImg8bit_sequence/val/.*cannot be extracted .*block type"):
        list(extract_entries(plan.entries, tmp_path / "out"))


def test_bad_requests_are_named(archives, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.zip does not exist"):
        plan_extraction([tmp_path / "none.zip"], tmp_path, ["train"], 5, 10)
    with pytest.raises(ValueError, match=r"no gtFine labels of test in .*gt\.zip"):
        plan_extraction(archives, tmp_path / "out", ["test"], 5, 10)
    with pytest.raises(ValueError, match="key_interval=0"):
        plan_extraction(archives, tmp_path / "out", ["train"], 0, 10)
    with pytest.raises(ValueError, match=r"frames_after=-1; expected at least 1, 0 and 0 frames"):
        plan_extraction(archives, tmp_path / "out", ["train"], 5, 10, -1)
