"""Choice of the reader of an address: every frame of a recording, or the newest one of a stream."""

from dataclasses import replace

from src.inference.video.live.connection import Connection, RemoteFrames
from src.inference.video.live.latest import LiveFrames, LiveOptions


def open_address(address: str, options: LiveOptions | None = None) -> LiveFrames | RemoteFrames:
    """Connect to an address and return its frames: the newest ones of a live stream, else every frame up to the end.

    Raises:
        OSError: if there is no connection.
        ValueError: if the scheme is unknown, or there is no readable video.
    """
    options = options or LiveOptions()
    connection = Connection(address, options.timeout)
    info = connection.info()
    if options.live is True or (options.live == "auto" and info.seconds is None):
        return LiveFrames(replace(info, seconds=None), connection.pictures, options)
    return RemoteFrames(connection, info)
