"""Audio track of a video file, copied without re-encoding beside the frames of another video."""

from __future__ import annotations

import io
import logging
from collections.abc import Generator
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Self

import av
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.stream import Discard

from src.files.video.container import error_text, open_container

log = logging.getLogger(__name__)

MP4_CODECS = ("aac", "ac3", "alac", "eac3", "flac", "mp2", "mp3", "opus")
"""Codecs that players read in an MP4 file."""
_LEAD_IN = Fraction(1, 10)  # seconds before the first frame, which decoders need and an edit list hides
_JUMP = 1  # second: a larger change between the times of the file and of the frames is a discontinuity
_TRIED_PACKETS = 8


class SoundTrack:
    """Audio track that players choose, read packet by packet as far as the new video is written.

    Errors of the track end it with a warning; the video goes on without it.

    Args:
        path: video file, opened as for its frames: no other file is opened.

    Raises:
        av.FFmpegError, ValueError: if an MP4 file cannot hold the track.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with open_container(path) as container:
            _try_copy(container)
        self._file = open_container(path)
        self._stream = _audio(self._file)
        self._packets = _packets(path, self._file, self._stream)
        self._tick = Fraction(1, self._stream.codec_context.sample_rate)
        self._target: tuple[OutputContainer, AudioStream] | None = None
        self._waiting: av.Packet[AudioStream] | None = None
        self._offsets: tuple[Fraction, ...] = ()  # frame time minus stored time, before and after the last discontinuity
        self._last = self._end = -round(_LEAD_IN / self._tick) - 1  # start and end of the last packet, ticks
        self._is_started = self._is_behind = False

    @classmethod
    def of_file(cls, path: Path) -> Self | None:
        """Open the track of a file with sound; ``None``, with a line in the log, if an MP4 file cannot hold it."""
        try:
            return cls(path)
        except (av.FFmpegError, ValueError) as error:
            log.warning("%s: its sound is left out: %s", path, error_text(error))
            return None

    def join(self, container: OutputContainer) -> None:
        """Add the track to a container, before its first packet."""
        self._target = container, container.add_stream_from_template(self._stream)
        tracks = len(self._file.streams.audio)
        log.info("%s: its sound is kept (%s%s)", self._path, _codec(self._stream), f", one of {tracks} tracks" * (tracks > 1))

    def align(self, time: Fraction, stored: Fraction) -> None:
        """Follow a frame of the file to its time in the new video, both in seconds."""
        if not self._offsets or abs(time - stored - self._offsets[-1]) > _JUMP:
            self._offsets = (*self._offsets[-1:], time - stored)

    def copy(self, end: Fraction) -> None:
        """Write the packets that start before ``end``, seconds, after the frames up to there, so that none waits in the muxer."""
        while self._target is not None:
            try:
                packet = self._waiting = self._waiting or next(self._packets, None)
                start = None if packet is None else self._start(packet, end)
                if packet is None or start is None:
                    return
                self._waiting = None
                # Packets that the file's edit list hides have a place only before the first frame.
                if start > self._last and (start < 0 or not packet.is_discard):
                    self._write(packet, start, *self._target)
            except (av.FFmpegError, ValueError) as error:
                self.give_up(error)

    def give_up(self, error: Exception) -> bool:
        """End the track because of an error, with a warning; return whether it had not ended before."""
        if self._target is None:
            return False
        log.warning("%s: its sound ends after %.1f s: %s", self._path, max(0, self._end) * self._tick, error_text(error))
        self._target = None
        return True

    def close(self) -> None:
        """Close the file."""
        if self._is_behind:
            self.give_up(ValueError("its times jump back"))
        self._packets.close()
        self._file.close()

    def _start(self, packet: av.Packet[AudioStream], end: Fraction) -> int | None:
        """Return a packet's start in the new video, ticks; ``None`` if that is later than ``end`` or not known yet."""
        stored = packet.dts if packet.pts is None else packet.pts
        if stored is None:
            start = self._end
        else:
            # Beside a discontinuity, the packets of both sides are near.
            places = (stored * packet.time_base + offset for offset in self._offsets or (Fraction(0),))
            start = round(min(places, key=lambda place: abs(place - end)) / self._tick)
        self._is_behind = self._is_started and start < self._last - _JUMP / self._tick
        return None if self._is_behind or start * self._tick >= end else start

    def _write(self, packet: av.Packet[AudioStream], start: int, container: OutputContainer, stream: AudioStream) -> None:
        duration = round((packet.duration or 0) * packet.time_base / self._tick)
        packet.stream, packet.time_base = stream, self._tick
        packet.pts = packet.dts = start
        packet.duration = duration
        self._last, self._end, self._is_started = start, start + duration, True
        container.mux(packet)


def _audio(container: InputContainer) -> AudioStream:
    stream = container.streams.best("audio")
    if not isinstance(stream, AudioStream) or _codec(stream) not in MP4_CODECS:
        codec = None if stream is None else _codec(stream)
        raise ValueError(f"its codec is {codec or 'unknown'}; expected one that MP4 players read: {', '.join(MP4_CODECS)}")
    if not stream.codec_context.sample_rate:
        raise ValueError("its sample rate is unknown")
    return stream


def _codec(stream: av.stream.Stream) -> str | None:
    return stream.codec_context.codec.canonical_name if stream.codec_context is not None else None


def _packets(path: Path, container: InputContainer, stream: AudioStream) -> Generator[av.Packet[AudioStream], None, None]:
    """Yield the packets of a stream that are not damaged; at the end, a warning counts the others."""
    for other in container.streams:
        other.discard = Discard.default if other is stream else Discard.all
    damaged = 0
    try:
        for packet in container.demux(stream):
            damaged += packet.is_corrupt
            if packet.size and not packet.is_corrupt:
                yield packet
    finally:
        if damaged:
            log.warning("%s: %d damaged packets of its sound are left out", path, damaged)


def _try_copy(container: InputContainer) -> None:
    """Write the first packets to memory, so that a track without the headers that MP4 requires is refused."""
    stream = _audio(container)
    with av.open(io.BytesIO(), "w", format="mp4") as target:
        copied = target.add_stream_from_template(stream)
        for packet in islice((packet for packet in container.demux(stream) if packet.dts is not None), _TRIED_PACKETS):
            packet.stream = copied
            target.mux(packet)
