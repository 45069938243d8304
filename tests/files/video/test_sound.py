"""Laws of the sound of a written video: the packets of the file, in sync with its frames, and never at the cost of a frame."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

from src.files.video import sound
from src.files.video.sound import SoundTrack
from src.inference.video.decoder import VideoFrames
from src.inference.video.writer import VideoWriter
from tests.inference.tiny import frames
from tests.inference.videos import add_tone, count_frames, cut, make_video, zeroed

ADTS_HEADER = 7  # bytes, which MP4 files do not have
Packets = list[tuple[Fraction, bytes]]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("clips") / "clip.mp4", frames(30, (48, 64)))


def written(path: Path, target: Path, count: int | None = None) -> Path:
    """Write the first frames of a video beside its sound."""
    source = VideoFrames(path)
    with VideoWriter(target, source.info.fps, time_base=source.info.time_base, sound=source.info.sound) as video:
        for number, frame in enumerate(source):
            if number == count:
                break
            video.write(frame.image, frame.time, frame.duration, frame.stored)
    return target


def packets(path: Path) -> Packets:
    """Return the packets of the sound, by seconds since the first frame."""
    first = next(iter(VideoFrames(path))).stored
    assert first is not None
    with av.open(str(path)) as container:
        found = container.demux(container.streams.audio[0])
        return [(packet.pts * packet.time_base - first, bytes(packet)) for packet in found if packet.size]


def same(found: Packets, expected: Packets) -> bool:
    """Return whether packets and their times, to a millisecond, are equal."""
    close = all(abs(a[0] - b[0]) <= Fraction(1, 1000) for a, b in zip(found, expected, strict=True))
    return close and [content for _, content in found] == [content for _, content in expected]


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp4", "aac"), ("a.ts", "aac"), ("a.mkv", "libmp3lame"), ("a.mkv", "libopus"), ("a.mkv", "flac"), ("a.mov", "alac"),
        ("a.mp4", "ac3"), ("a.ts", "mp2"),
    ],
)  # fmt: skip
def test_packets_are_copied_at_their_times(clip: Path, tmp_path: Path, name: str, codec: str) -> None:
    path = add_tone(clip, tmp_path / name, codec, seconds=2)
    header = ADTS_HEADER if (name, codec) == ("a.ts", "aac") else 0
    expected = [(time, content[header:]) for time, content in packets(path) if time < 2]
    found = packets(written(path, tmp_path / "out.mp4"))
    assert same(found, expected) and len(found) > 15 and count_frames(tmp_path / "out.mp4") == 30
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert abs(sum(frame.samples for frame in container.decode(audio=0)) - 96_000) < 4096


@pytest.mark.parametrize(("start", "video_start"), [(0.4, 0), (0, 0.4), (3, 0), (0, 1.5)])
def test_sound_that_starts_before_or_after_the_frames_stays_in_sync(
    clip: Path, tmp_path: Path, start: float, video_start: float
) -> None:
    path = add_tone(clip, tmp_path / "a.mp4", seconds=2, start=start, video_start=video_start)
    target = written(path, tmp_path / "out.mp4")
    with av.open(str(target)) as container:
        assert len(container.streams.audio) == (start < 2), "no sound during the frames, no track"
    if start < 2:
        # What decoders need before the first frame is kept, and hidden by the file.
        assert same(packets(target), [one for one in packets(path) if -0.1 <= one[0] < 2])
        assert next(iter(VideoFrames(target))).stored == 0


def test_sound_follows_frames_of_a_variable_rate(tmp_path: Path) -> None:
    times = [0, 40, 45, 700, 710, 1000, 1900, 1950]
    video = make_video(tmp_path / "silent.mp4", frames(8, (48, 64)), times=times)
    path = add_tone(video, tmp_path / "a.mkv", seconds=3)
    target = written(path, tmp_path / "out.mp4")
    end = Fraction(1950 + 50, 1000)
    found = packets(target)
    assert same(found, packets(path)[: len(found)]) and end - Fraction(1, 40) < found[-1][0] < end + Fraction(1, 15)
    assert [round(1000 * frame.time) for frame in VideoFrames(target)] == times


def test_sound_ends_with_the_frames(clip: Path, tmp_path: Path) -> None:
    path = add_tone(clip, tmp_path / "a.mp4", seconds=2)
    found = packets(written(path, tmp_path / "out.mp4", count=6))
    assert same(found, [one for one in packets(path) if one[0] < Fraction(6, 15)])
    assert count_frames(tmp_path / "out.mp4") == 6


def test_sound_stays_in_sync_where_a_recording_restarts(clip: Path, tmp_path: Path) -> None:
    one = add_tone(clip, tmp_path / "one.ts", "mp2", seconds=2)
    other = add_tone(clip, tmp_path / "other.ts", "mp2", seconds=2, start=0.2)
    (tmp_path / "both.ts").write_bytes(one.read_bytes() + other.read_bytes())
    target = written(tmp_path / "both.ts", tmp_path / "out.mp4")
    second = [frame.time for frame in VideoFrames(target)][30]
    found, expected = packets(target), packets(other)
    start = [time for time, content in found if content == expected[3][1]][-1] - second
    assert count_frames(target) == 60 and abs(start - expected[3][0]) < Fraction(1, 500)


def test_sound_that_mp4_players_do_not_read_is_left_out_with_one_line(
    clip: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    target = written(add_tone(clip, tmp_path / "a.mov", "pcm_s16le"), tmp_path / "out.mp4")
    with av.open(str(target)) as container:
        assert not container.streams.audio
    assert count_frames(target) == 30
    assert [record.message for record in caplog.records] == [
        f"{tmp_path / 'a.mov'}: its sound is left out: its codec is pcm_s16le; "
        "expected one that MP4 players read: aac, ac3, alac, eac3, flac, mp2, mp3, opus"
    ]


@pytest.mark.parametrize("name", ["a.ts", "a.mp4", "a.mkv"])
@pytest.mark.parametrize("damage", [lambda a, b: zeroed(a, b, 0.5, 0.7), lambda a, b: cut(a, b, 0.6)])
def test_a_damaged_file_has_the_frames_that_it_has_without_sound(
    clip: Path, tmp_path: Path, name: str, damage: Callable[[Path, Path], Path]
) -> None:
    path = add_tone(clip, tmp_path / name, seconds=2)
    (tmp_path / "broken").mkdir()
    try:
        source = VideoFrames(damage(path, tmp_path / "broken" / name))
    except ValueError:
        return  # an MP4 file without its index
    expected = len(list(source))
    target = written(source.path, tmp_path / "out.mp4")
    assert count_frames(target) == expected > 5


class Refused:
    """Packets of a track of which some cannot be read or written."""

    def __init__(self, content: bytes | None) -> None:
        self._content = content

    def __call__(self, path: Path, container: Any, stream: Any) -> Iterator[Any]:
        for number, packet in enumerate(container.demux(stream)):
            if number == 10 and self._content is None:
                raise av.InvalidDataError(1, "Invalid data", str(path))
            if number >= 10 and self._content is not None:
                broken: Any = av.Packet(self._content)
                broken.pts, broken.dts, broken.time_base, broken.duration = packet.pts, packet.dts, packet.time_base, 1
                yield broken
            elif packet.size:
                yield packet


@pytest.mark.parametrize(("name", "codec"), [("a.ts", "aac"), ("a.mp4", "eac3")])
@pytest.mark.parametrize("content", [None, b"\xff\xf1" + bytes(30)])
def test_a_damaged_track_ends_with_a_warning_and_the_frames_go_on(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str, codec: str,
    content: bytes | None,
) -> None:  # fmt: skip
    path = add_tone(clip, tmp_path / name, codec, seconds=2)
    monkeypatch.setattr(sound, "_packets", Refused(content))
    target = written(path, tmp_path / "out.mp4")
    assert [record.message for record in caplog.records if "its sound ends after 0." in record.message], caplog.text
    assert len(packets(target)) == 10 and count_frames(target) == 30


def test_lists_of_other_files_are_not_opened(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.m3u8").write_text("#EXTM3U\n#EXTINF:1,\nb.ts\n")
    assert SoundTrack.of_file(tmp_path / "a.m3u8") is None and "its sound is left out: Invalid data" in caplog.text
