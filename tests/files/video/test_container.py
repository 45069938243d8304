"""Laws of opening videos: only video formats, no other file than the one named, one limit of the frame size."""

import os
import struct
import threading
from pathlib import Path

import av
import av.logging
import pytest

from src.data.datasets.video_files import VideoFiles
from src.files.video import container
from src.files.video.container import ffmpeg_error_lines, open_video
from src.inference.video.decoder import VideoFrames
from tests.inference.tiny import frames
from tests.inference.videos import make_video

HLS = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nbeside.ts\n#EXT-X-ENDLIST\n"
OTHER_FORMATS = {
    "list.mp4": "ffconcat version 1.0\nfile beside.ts\n",
    "hls.ts": HLS,
    "hls.m3u8": HLS,
    "dash.mpd": '<?xml version="1.0"?><MPD profiles="urn:mpeg:dash:profile:isoff-live:2011"></MPD>',
    "session.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
    "subtitles.mkv": "1\n00:00:00,000 --> 00:00:01,000\ntext\n\n2\n00:00:02,000 --> 00:00:03,000\ntext\n",
    "metadata.mov": ";FFMETADATA1\ntitle=x\n",
    "redirect.asf": "[Reference]\nRef1=http://127.0.0.1:9/a.asf\n",
    "image.avi": "P5 2 2 255\n....",
    "p%d.pgm": "P5 2 2 255\n....",
    "text.mp4": "text",
    "empty.mp4": "",
}


@pytest.mark.parametrize("name", OTHER_FORMATS)
def test_other_formats_are_refused_and_no_file_beside_them_is_opened(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(OTHER_FORMATS[name])
    # Who opens a pipe without a writer waits for one.
    for beside in ("beside.ts", "p1.pgm"):
        os.mkfifo(tmp_path / beside)
    errors: list[BaseException] = []

    def open_it() -> None:
        try:
            with open_video(tmp_path / name):
                pass
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=open_it, daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive() and isinstance(errors[0], ValueError)
    assert str(errors[0]).startswith(f"{tmp_path / name} is not a readable video: ") and str(errors[0]).count(name) == 1


def external_track(path: Path, name: str) -> bytes:
    """Return an MP4 file whose samples are in another file of the same folder, by an alias of QuickTime."""
    data, full = bytearray(path.read_bytes()), b"/a/" + name.encode()
    start = data.index(b"dref") + 12
    alias = struct.pack(">4sI10xB27s12xB63s16xHH16x", b"alis", 0, 1, b"a", len(name), name.encode(), 1, 1)
    alias += struct.pack(">HH", 2, len(full)) + full + b"\0" * (len(full) % 2) + b"\xff\xff\0\0"
    data[start : start + 12] = struct.pack(">I", 4 + len(alias)) + alias
    for box in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"):
        at = data.index(box) - 4
        data[at : at + 4] = struct.pack(">I", struct.unpack(">I", data[at : at + 4])[0] + len(alias) - 8)
    return bytes(data)


def test_samples_in_another_file_are_not_read(tmp_path: Path) -> None:
    path = make_video(tmp_path / "beside.mp4", frames(3, (48, 64)))
    (tmp_path / "external.mov").write_bytes(external_track(path, "beside.mp4"))
    with av.open(str(tmp_path / "external.mov"), options={"enable_drefs": "1"}) as opened:
        assert sum(1 for _ in opened.decode(video=0)) == 3, "FFmpeg would read them"
    source = VideoFrames(tmp_path / "external.mov")
    assert list(source) == [] and "external.mov" in source.decode_errors[0]


def test_every_entry_refuses_lists(tmp_path: Path) -> None:
    (tmp_path / "list.mp4").write_text(OTHER_FORMATS["list.mp4"])
    make_video(tmp_path / "beside.ts", frames(2, (48, 64)))
    for entry in (lambda: VideoFrames(tmp_path / "list.mp4"), lambda: VideoFiles(tmp_path)):
        with pytest.raises(ValueError, match=r"list\.mp4 is not a readable video: a list of other files, or no video format"):
            entry()


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.h264", "libx264"), ("a.avi", "mpeg4")]
)
def test_larger_frames_than_the_limit_are_refused_with_their_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, codec: str
) -> None:
    path = make_video(tmp_path / name, frames(3, (128, 144)), codec=codec)
    monkeypatch.setattr(container, "MAX_PIXELS", 10_000)
    message = rf"{name}: frames are 144x128, 18432 pixels; expected at most 10000; scale the video down"
    for entry in (
        (lambda: VideoFrames(path), lambda: VideoFiles(tmp_path)) if not name.endswith("h264") else (lambda: VideoFrames(path),)
    ):
        with pytest.raises(ValueError, match=message):
            entry()


def test_large_frames_are_decoded_by_fewer_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    path = make_video(tmp_path / "a.mp4", frames(3, (128, 144)))
    with open_video(path) as (_, stream):
        default = stream.codec_context.thread_count
    monkeypatch.setattr(container, "MAX_PIXELS", 3 * 128 * 144)
    with open_video(path) as (opened, stream):
        assert stream.codec_context.thread_count == 3 != default
        assert sum(1 for _ in opened.decode(stream)) == 3


def test_a_cover_picture_is_not_the_video(tmp_path: Path) -> None:
    path = tmp_path / "cover.mkv"
    with av.open(str(path), "w") as target:
        for codec, pix_fmt, size in (("mjpeg", "yuvj420p", (32, 32)), ("libx264", "yuv420p", (96, 64))):
            stream = target.add_stream(codec, rate=5)
            stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
        for stream in target.streams:
            for _ in range(1 if stream.index == 0 else 4):
                target.mux(stream.encode(av.VideoFrame(stream.width, stream.height, stream.pix_fmt)))
            target.mux(stream.encode(None))
    with open_video(path) as (_, stream):
        assert (stream.width, stream.height) == (96, 64)


def test_the_logging_of_ffmpeg_is_restored(tmp_path: Path) -> None:
    before = av.logging.get_level(), av.logging.get_skip_repeated()
    (tmp_path / "a.mp4").write_text("text")
    with ffmpeg_error_lines() as lines, pytest.raises(av.FFmpegError):
        av.open(str(tmp_path / "a.mp4"))
    assert lines and (av.logging.get_level(), av.logging.get_skip_repeated()) == before
