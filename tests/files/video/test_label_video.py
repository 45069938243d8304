"""Laws of label videos: exact values, kept times and rates, whole or absent, damage is an error."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from src.files.video.label_video import LabelVideoWriter, read_label_video


def label_maps(count: int, values: int, size: tuple[int, int] = (27, 41)) -> list[NDArray[np.int64]]:
    rng = np.random.default_rng(values)
    return [rng.integers(0, values, size) for _ in range(count)]


def write(path: Path, maps: list[NDArray[np.int64]], num_classes: int, fps: Fraction = Fraction(25)) -> Path:
    with LabelVideoWriter(path, fps, num_classes) as writer:
        for labels in maps:
            writer.write(labels)
    return path


@pytest.mark.parametrize(("num_classes", "pix_fmt"), [(4, "gray"), (256, "gray"), (257, "gray16le"), (65_536, "gray16le")])
def test_every_value_survives(tmp_path: Path, num_classes: int, pix_fmt: str) -> None:
    maps = label_maps(3, num_classes)
    path = write(tmp_path / "labels.mkv", maps, num_classes)
    for found, expected in zip(read_label_video(path), maps, strict=True):
        np.testing.assert_array_equal(found.labels, expected)
    with av.open(str(path)) as container:
        codec = container.streams.video[0].codec_context
        assert (codec.name, codec.pix_fmt) == ("ffv1", pix_fmt)


def test_pixels_without_a_class_keep_their_value(tmp_path: Path) -> None:
    labels = np.array([[0, 255], [255, 0]])
    assert next(read_label_video(write(tmp_path / "one.mkv", [labels], 1))).labels.tolist() == labels.tolist()


@pytest.mark.parametrize("fps", [Fraction(25), Fraction(30_000, 1001), Fraction(12, 5)])
def test_rate_and_times_are_kept(tmp_path: Path, fps: Fraction) -> None:
    path = write(tmp_path / "labels.mkv", label_maps(9, 3), 3, fps)
    times = [frame.time for frame in read_label_video(path)]
    assert [abs(time - number / fps) <= Fraction(1, 2000) for number, time in enumerate(times)] == [True] * 9
    with av.open(str(path)) as container:
        assert container.streams.video[0].average_rate == fps
        assert all(packet.is_keyframe for packet in container.demux(video=0) if packet.size)


def test_irregular_times_are_kept(tmp_path: Path) -> None:
    times = [Fraction(0), Fraction(1, 25), Fraction(7, 10), Fraction(11, 4)]
    with LabelVideoWriter(tmp_path / "labels.mkv", Fraction(25), 3) as writer:
        for time, labels in zip(times, label_maps(4, 3), strict=True):
            writer.write(labels, time, Fraction(1, 25))
    assert [frame.time for frame in read_label_video(tmp_path / "labels.mkv")] == times


def test_two_frames_never_share_a_time(tmp_path: Path) -> None:
    with LabelVideoWriter(tmp_path / "labels.mkv", Fraction(25), 3) as writer:
        for number, labels in enumerate(label_maps(3, 3)):
            writer.write(labels, Fraction(number, 100_000))
    assert len({frame.time for frame in read_label_video(tmp_path / "labels.mkv")}) == 3


def test_after_an_error_there_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected the size of the first one, 27x41"), LabelVideoWriter(
        tmp_path / "labels.mkv", Fraction(25), 3
    ) as writer:  # fmt: skip
        writer.write(label_maps(1, 3)[0])
        writer.write(np.zeros((4, 4), int))
    assert list(tmp_path.iterdir()) == []


def test_values_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="label 256; expected values of 8 bits"):
        write(tmp_path / "labels.mkv", [np.full((4, 4), 256)], 4)


def test_a_video_of_colors_is_refused(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "film.mkv"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 16, "yuv420p"
        container.mux(stream.encode(av.VideoFrame(32, 16, "yuv420p")))
        container.mux(stream.encode(None))
    with pytest.raises(ValueError, match=r"film\.mkv is h264, yuv420p; expected a label video: ffv1"):
        next(read_label_video(tmp_path / "film.mkv"))
    with pytest.raises(FileNotFoundError, match=r"none\.mkv does not exist"):
        next(read_label_video(tmp_path / "none.mkv"))


@pytest.mark.parametrize("size", [(60, 80), (400, 500)])
def test_damage_is_an_error(tmp_path: Path, size: tuple[int, int]) -> None:
    """FFmpeg itself decodes the damaged frame without an error, to other values."""
    path = write(tmp_path / "labels.mkv", label_maps(4, 200, size), 200)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"labels\.mkv: the frame at 0\.0[48]0 s has no valid checksum"):
        list(read_label_video(path))
