"""Intact and damaged video files for tests."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import Colorspace
from torch import Tensor

MPEG4 = "mpeg4"


def make_video(
    path: Path,
    clip: Sequence[Tensor],
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    fps: Fraction | int = 15,
    times: Sequence[int] | None = None,
    time_base: Fraction = Fraction(1, 1000),
    rotation: float = 0,
    mirrored: bool = False,
    pixel_aspect: Fraction = Fraction(1),
    sound: bool = False,
    faststart: bool = False,
) -> Path:
    """Encode frames; ``times`` are in ticks of ``time_base``, and the last frame lasts as long as the previous one."""
    with av.open(f"file:{path}", "w", options={"movflags": "faststart"} if faststart else {}) as container:
        stream = container.add_stream(codec, rate=fps)
        stream.height, stream.width, stream.pix_fmt = *clip[0].shape[-2:], pix_fmt
        stream.codec_context.sample_aspect_ratio = pixel_aspect
        if times is not None:
            stream.codec_context.time_base = time_base
        if codec == "libx264":
            stream.options = {"crf": "12", "g": "6", "bf": "0"}
        else:
            stream.bit_rate = 1_000_000
        if rotation or mirrored:
            stream.set_display_rotation(rotation, hflip=mirrored)
        noise = container.add_stream("aac", rate=8000, layout="mono") if sound else None
        for number, image in enumerate(clip):
            frame = av.VideoFrame.from_ndarray(image.permute(1, 2, 0).contiguous().numpy(), format="rgb24")
            frame = frame.reformat(format=pix_fmt, dst_colorspace=Colorspace.ITU601)
            if times is not None:
                frame.pts, frame.time_base = times[number], time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if noise is not None:
            container.mux(noise.encode(silence()))
            container.mux(noise.encode(None))
    return path


def remux(path: Path, target: Path, options: dict[str, str]) -> Path:
    """Write the packets of a file to another one, with options of FFmpeg's muxer."""
    with av.open(str(path)) as source, av.open(str(target), "w", options=options) as container:
        streams = {stream.index: container.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                container.mux(packet)
    return target


def add_tone(
    video: Path,
    target: Path,
    codec: str = "aac",
    seconds: float = 1,
    start: float = 0,
    video_start: float = 0,
    rate: int = 48_000,
) -> Path:
    """Copy a video beside a rising tone; both may start later than the file."""
    with av.open(str(video)) as source, av.open(str(target), "w") as container:
        stream = source.streams.video[0]
        copy = container.add_stream_from_template(stream)
        sound = container.add_stream(codec, rate=rate, layout="mono")
        times = np.arange(round(seconds * rate)) / rate
        tone = (0.3 * np.sin(2 * np.pi * (300 + 200 * times) * times)).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(tone[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = rate, 0
        fifo, packets, count = av.AudioFifo(), [], 0
        for part in av.AudioResampler(format=sound.codec_context.format, layout="mono", rate=rate).resample(frame):
            fifo.write(part)
        while (piece := fifo.read(sound.codec_context.frame_size or 1024, partial=True)) is not None:
            piece.pts, piece.time_base = count, Fraction(1, rate)
            packets += sound.encode(piece)
            count += piece.samples
        packets += sound.encode(None)
        for packet in packets:
            packet.pts = packet.dts = packet.pts + round(start / packet.time_base)
        for moved in source.demux(stream):
            if moved.dts is not None:
                moved.stream, shift = copy, round(video_start / stream.time_base)
                moved.pts, moved.dts = moved.pts + shift, moved.dts + shift
                container.mux(moved)
        container.mux(packets)
    return target


def silence() -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
    frame.sample_rate, frame.pts = 8000, 0
    return frame


def lying_avi(path: Path, clip: Sequence[Tensor], claimed: int) -> Path:
    """Write an AVI whose headers declare a wrong number of frames."""
    make_video(path, clip, codec=MPEG4)
    data = bytearray(path.read_bytes())
    main = data.index(b"avih") + 8
    data[main + 16 : main + 20] = claimed.to_bytes(4, "little")
    stream = data.index(b"strh") + 8
    data[stream + 32 : stream + 36] = claimed.to_bytes(4, "little")
    path.write_bytes(data)
    return path


def cut(path: Path, target: Path, share: float) -> Path:
    """Write the first part of a file."""
    data = path.read_bytes()
    target.write_bytes(data[: int(len(data) * share)])
    return target


def zeroed(path: Path, target: Path, start: float, stop: float) -> Path:
    """Write a copy of a file with a run of zeros."""
    data = bytearray(path.read_bytes())
    a, b = int(len(data) * start), int(len(data) * stop)
    data[a:b] = bytes(b - a)
    target.write_bytes(data)
    return target


def count_frames(path: Path) -> int:
    """Return the number of frames that FFmpeg decodes."""
    with av.open(f"file:{path}") as container:
        return sum(1 for _ in container.decode(video=0))


def length(path: Path) -> float:
    """Return the duration of the video stream by its header, seconds."""
    with av.open(f"file:{path}") as container:
        stream = container.streams.video[0]
        assert stream.duration is not None and stream.time_base is not None
        return float(stream.duration * stream.time_base)
