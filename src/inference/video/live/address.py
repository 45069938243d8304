"""Addresses of streams: the protocols that are opened, and their text without credentials."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_WEB = "http,https,httpproxy,tcp,tls,crypto"
_WEB_FORMATS = "hls,mpegts,mov,matroska,flv,mpjpeg,mpeg,ogg,aac"


@dataclass(frozen=True)
class Protocol:
    """Protocols and containers that FFmpeg may open for an address of one scheme.

    Attributes:
        protocols: protocols of FFmpeg, also for what a playlist or a redirection names.
        formats: containers that are read.
        options: options of FFmpeg's reader.
        paced: whether data come in bursts (segments of HLS), so that frames are to be shown at their own distances.
    """

    protocols: str
    formats: str
    options: tuple[tuple[str, str], ...] = ()
    paced: bool = False


_TCP = (("rtsp_transport", "tcp"),)
READ: dict[str, Protocol] = {
    "rtsp": Protocol("rtsp,rtp,tcp,udp", "rtsp", _TCP),
    "rtsps": Protocol("rtsp,rtp,tcp,tls", "rtsp", _TCP),
    "http": Protocol(_WEB, _WEB_FORMATS, paced=True),
    "https": Protocol(_WEB, _WEB_FORMATS, paced=True),
    "udp": Protocol("udp", "mpegts", (("overrun_nonfatal", "1"),)),
    "rtmp": Protocol("rtmp,tcp", "flv"),
    "rtmps": Protocol("rtmps,tls,tcp", "flv"),
}
"""Schemes of inputs."""


def is_address(text: str) -> bool:
    """Return whether a text is an address, such as ``rtsp://host/stream``, and no path."""
    return _ADDRESS.match(text) is not None


def masked(address: str) -> str:
    """Return an address as it may be printed: without user, password, query, and for RTMP, whose paths are keys, the path.

    Of an address with an ``@`` behind its host, only the scheme: a password with ``/``, ``?`` or ``#`` may end there.
    """
    hidden = f"{address.partition('://')[0]}://***"
    try:
        parts = urlsplit(address)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return hidden
    if address.count("@") > parts.netloc.count("@"):
        return hidden
    user = "***@" if "@" in parts.netloc else ""
    path = "/***" if parts.scheme.startswith("rtmp") and parts.path.strip("/") else parts.path
    query = "?***" if parts.query or parts.fragment else ""
    return f"{parts.scheme}://{user}{host}{path}{query}"


def check_address(address: str, option: str, schemes: dict[str, Protocol]) -> Protocol:
    """Return what may be opened for an address.

    Args:
        address: input or output.
        option: its option, for the error.
        schemes: allowed schemes.

    Raises:
        ValueError: if its scheme is another one, or it has no host.
    """
    scheme = address.partition("://")[0].lower()
    try:
        host = urlsplit(address).hostname
        _ = urlsplit(address).port
    except ValueError:
        host = None
    if scheme not in schemes:
        raise ValueError(f"{option} is {masked(address)}; expected a file or an address that begins with {', '.join(schemes)}")
    if not host and scheme != "udp":
        raise ValueError(f"{option} is {masked(address)}; expected {scheme}://<host>[:<port>]/<path>")
    return schemes[scheme]
