"""Video files that get their name when complete."""

from __future__ import annotations

import uuid
from pathlib import Path
from types import TracebackType
from typing import Self

import av
from av.container import OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream


class PartialVideo:
    """Context manager of a video file, which gets its name when complete; after an error there is no file.

    A subclass opens the container and the stream with the first frame, and notes the duration of each frame.

    Args:
        path: output file; an existing file is replaced.
        in_place: write to ``path`` itself, an existing temporary file that the caller renames.
    """

    def __init__(self, path: Path, in_place: bool = False) -> None:
        self.path = path
        partial = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}.partial{path.suffix.lower()}")
        self._partial = path if in_place else partial
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._durations: dict[int, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()

    def close(self) -> None:
        """Complete the file, of at least one frame, and rename it to its final name."""
        if self._container is None:
            raise ValueError(f"{self.path}: no frame was written; expected at least one")
        try:
            self._encode(None)
            self._complete(self._container)
            self._partial.replace(self.path)
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Delete an incomplete file; a completed file stays."""
        try:
            if self._container is not None:
                self._container.close()
        finally:
            if self._partial != self.path:
                self._partial.unlink(missing_ok=True)
            self._container = self._stream = None

    def _complete(self, container: OutputContainer) -> None:
        """Close the container after the last packet of the video."""
        container.close()

    def _muxed(self, packet: Packet[VideoStream]) -> None:
        """Follow a packet that has been written; nothing by default."""

    def _encode(self, frame: av.VideoFrame | None) -> None:
        """Write the packets of a frame, or the last ones for ``None``."""
        assert self._container is not None and self._stream is not None
        for packet in self._stream.encode(frame):
            if packet.pts is not None:
                packet.duration = self._durations.pop(packet.pts)
            self._container.mux(packet)
            self._muxed(packet)
