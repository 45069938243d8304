import pytest

from src.data.datasets.cityscapes import CLASSES, Cityscapes
from src.data.pairs.sampling import UniformSampling
from src.structures import IGNORE_INDEX
from tests.data.fake_layouts import label, write_image, write_label


def write_snippet(root, frames, labelled, folder="leftImg8bit_sequence", sequence="000000"):
    for frame in frames:
        write_image(root / folder / "train" / "ulm" / f"ulm_{sequence}_{frame:06d}_leftImg8bit.png", value=frame % 256)
    write_label(root / "gtFine" / "train" / "ulm" / f"ulm_{sequence}_{labelled:06d}_gtFine_labelIds.png", label(0, 7, 33, 34 - 5))


def test_label_ids_become_train_ids(tmp_path):
    write_snippet(tmp_path, [19], 19)
    data = Cityscapes(tmp_path, "train")
    assert data.read_label(0, 0)[0, ::4].tolist() == [IGNORE_INDEX, 0, 18, IGNORE_INDEX]
    assert data.num_classes == 19
    assert (data.classes[0], data.classes[13], data.classes[18]) == ("road", "car", "bicycle")
    assert [c.label_id for c in CLASSES] == sorted({c.label_id for c in CLASSES})
    assert data.fps == 17.0


def test_a_clip_is_the_unbroken_run_around_its_label(tmp_path):
    write_snippet(tmp_path, [*range(100, 104), *range(110, 120)], 112)
    write_snippet(tmp_path, range(17, 60), 42, sequence="000003")
    first, second = Cityscapes(tmp_path, "train").clips
    assert [int(p.name.split("_")[2]) for p in first.images] == list(range(110, 120))
    assert first.labelled_frames == (2,)
    assert [int(p.name.split("_")[2]) for p in second.images] == list(range(42 - 19, 42 + 11))
    assert second.name == "ulm_000003_000042"
    assert Cityscapes(tmp_path, "train", frames_before=3, frames_after=0).clips[1].labelled_frames == (3,)


def test_a_snippet_at_the_start_of_its_recording(tmp_path):
    write_snippet(tmp_path, range(0, 4), 2)
    assert Cityscapes(tmp_path, "train").clips[0].labelled_frames == (2,)


def test_without_sequences_clips_are_single_frames(tmp_path):
    write_snippet(tmp_path, [19], 19, folder="leftImg8bit")
    (clip,) = Cityscapes(tmp_path, "train").clips
    assert (len(clip), clip.labelled_frames) == (1, (0,))


def test_bad_folders_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gtFine.train does not exist; expected gtFine/ and leftImg8bit_sequence/"):
        Cityscapes(tmp_path, "train")
    (tmp_path / "gtFine/train").mkdir(parents=True)
    (tmp_path / "leftImg8bit/train").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"contains no \*_labelIds\.png; expected <city>"):
        Cityscapes(tmp_path, "train")
    write_snippet(tmp_path, [18], 19, folder="leftImg8bit")
    with pytest.raises(FileNotFoundError, match=r"ulm_000000_000019_leftImg8bit\.png does not exist; expected the image of"):
        Cityscapes(tmp_path, "train")


def test_a_strange_label_name_is_named(tmp_path):
    write_snippet(tmp_path, [19], 19)
    write_label(tmp_path / "gtFine/train/ulm/ulm_19_gtFine_labelIds.png", label(7))
    with pytest.raises(ValueError, match=r"ulm_19_gtFine_labelIds\.png: unexpected name"):
        Cityscapes(tmp_path, "train")


def test_frame_numbers_determine_the_frames_of_a_label(tmp_path):
    """Two snippets of one long recording: the frames of the other are not this one's."""
    write_snippet(tmp_path, [*range(274, 304), *range(304, 334)], 293)
    write_snippet(tmp_path, [], 323)
    first, second = Cityscapes(tmp_path, "train").clips
    assert [clip.labelled_frames for clip in (first, second)] == [(19,), (19,)]
    assert first.images[-1].name == "ulm_000000_000303_leftImg8bit.png"
    assert second.images[0].name == "ulm_000000_000304_leftImg8bit.png"


def test_a_city_may_have_underscores_and_a_label_the_licence_plates_value(tmp_path):
    write_image(tmp_path / "leftImg8bit_sequence/val/bad_ems/bad_ems_000001_000019_leftImg8bit.png")
    write_label(tmp_path / "gtFine/val/bad_ems/bad_ems_000001_000019_gtFine_labelIds.png", label(255))
    data = Cityscapes(tmp_path, "val")
    assert data.clips[0].name == "bad_ems_000001_000019"
    assert data.read_label(0, 0).unique().tolist() == [IGNORE_INDEX]


def test_pairs_always_end_at_the_label(tmp_path):
    write_snippet(tmp_path, range(30), 19)
    clips = Cityscapes(tmp_path, "train").clips
    pairs = [UniformSampling(max_offset=10).sample(clips, number, seed=0) for number in range(60)]
    assert {pair.nonkey for pair in pairs} == {19}
    assert {pair.key for pair in pairs} == set(range(9, 19))


def test_an_excluded_frame_ends_the_run(tmp_path):
    write_snippet(tmp_path, range(10, 22), 19)
    folder = "leftImg8bit_sequence/train/ulm/ulm_000000"
    (tmp_path / "list.json").write_text(f'{{"files": ["{folder}_000015_leftImg8bit.png"]}}')
    (clip,) = Cityscapes(tmp_path, "train", exclude=tmp_path / "list.json").clips
    assert (clip.images[0].name, clip.labelled_frames) == ("ulm_000000_000016_leftImg8bit.png", (3,))
    write_snippet(tmp_path, [19], 19, sequence="000001")
    (tmp_path / "list.json").write_text(f'{{"files": ["{folder}_000019_leftImg8bit.png"]}}')
    assert [c.name for c in Cityscapes(tmp_path, "train", exclude=tmp_path / "list.json").clips] == ["ulm_000001_000019"]


def test_missing_frames_and_images_are_collected(tmp_path):
    write_snippet(tmp_path, [*range(10, 14), *range(15, 20)], 19)
    write_snippet(tmp_path, [18], 19, sequence="000001")
    write_label(tmp_path / "gtFine/train/ulm/ulm_19_gtFine_labelIds.png", label(7))
    issues = []
    assert [len(clip) for clip in Cityscapes(tmp_path, "train", issues=issues).clips] == [5]
    assert [(issue.kind, issue.path.name) for issue in issues] == [
        ("missing", "ulm_000000_000014_leftImg8bit.png"),
        ("missing", "ulm_000001_000019_leftImg8bit.png"),
        ("layout", "ulm_19_gtFine_labelIds.png"),
    ]
