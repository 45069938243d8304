"""Servers of streams in this process: MPEG-TS over HTTP, and RTSP with H.264 in the RTSP connection."""

import io
import socket
import socketserver
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import av
from torch import Tensor


def encoded(clip: Sequence[Tensor], container: str = "mpegts", fps: int = 25) -> bytes:
    """Return a video, of which every fifth frame can be decoded alone."""
    target = io.BytesIO()
    with av.open(target, "w", format=container) as output:
        for packet in _packets(clip, output, fps):
            output.mux(packet)
    return target.getvalue()


def access_units(clip: Sequence[Tensor]) -> list[bytes]:
    """Return H.264 in byte-stream format, one entry per frame."""
    with av.open(io.BytesIO(), "w", format="h264") as output:
        return [bytes(packet) for packet in _packets(clip, output, 25)]


def _packets(clip: Sequence[Tensor], output: av.container.OutputContainer, fps: int) -> Iterator[av.Packet]:
    stream = output.add_stream("libx264", rate=fps, options={"tune": "zerolatency", "preset": "ultrafast", "g": "5"})
    stream.height, stream.width = clip[0].shape[1:]
    stream.pix_fmt = "yuv420p"
    for image in clip:
        yield from stream.encode(av.VideoFrame.from_ndarray(image.permute(1, 2, 0).contiguous().numpy(), format="rgb24"))
    yield from stream.encode(None)


Reply = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def web_server(reply: Reply) -> Iterator[str]:
    """Yield the address of a server that calls ``reply`` for every GET request."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            try:
                reply(self)
            except ConnectionError:
                self.close_connection = True

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def send(request: BaseHTTPRequestHandler, data: bytes, length: bool, kind: str = "video/mp2t") -> None:
    """Answer a GET request, with or without the length."""
    request.send_response(200)
    request.send_header("Content-Type", kind)
    if length:
        request.send_header("Content-Length", str(len(data)))
    request.end_headers()
    request.wfile.write(data)


class RtspServer(socketserver.ThreadingTCPServer):
    """RTSP server of one stream, whose frames it repeats without an end.

    Args:
        frames: H.264 access units.
        cut_after: frames after which a connection is cut, for each connection that plays; beyond the list, never.
    """

    allow_reuse_address = daemon_threads = True

    def __init__(self, frames: Sequence[bytes], cut_after: Sequence[int] = ()) -> None:
        super().__init__(("127.0.0.1", 0), _RtspSession)
        self.frames, self.cuts = list(frames), list(cut_after)
        self.played: list[int] = []
        self.credentials: set[str] = set()
        self.needs_password = False
        self.ended = threading.Event()

    @contextmanager
    def running(self) -> Iterator[str]:
        """Yield the address ``host:port/path``."""
        with self:
            threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
            yield f"127.0.0.1:{self.server_address[1]}/stream"
            self.ended.set()
            self.shutdown()


class _RtspSession(socketserver.StreamRequestHandler):
    server: RtspServer

    def handle(self) -> None:
        try:
            while request := self._request():
                method, sequence, authorized = request
                body, extra = "", ""
                if self.server.needs_password and not authorized:
                    answer = f'RTSP/1.0 401 Unauthorized\r\nCSeq: {sequence}\r\nWWW-Authenticate: Basic realm="a"\r\n\r\n'
                    self.wfile.write(answer.encode())
                    continue
                if method == "OPTIONS":
                    extra = "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
                elif method == "DESCRIBE":
                    body = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=test\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n"
                    body += "a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:track1\r\n"
                    extra = f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n"
                elif method == "SETUP":
                    extra = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n"
                self.wfile.write(f"RTSP/1.0 200 OK\r\nCSeq: {sequence}\r\n{extra}\r\n{body}".encode())
                if method == "PLAY":
                    self._play()
                    return
        except OSError:
            return

    def _request(self) -> tuple[str, str, bool] | None:
        lines = []
        while (line := self.rfile.readline().decode().strip()) or not lines:
            if not line:
                return None
            lines.append(line)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        if "authorization" in headers:
            self.server.credentials.add(headers["authorization"])
        return lines[0].split()[0], headers["cseq"], "authorization" in headers

    def _play(self) -> None:
        number = len(self.server.played)
        self.server.played.append(0)
        limit = self.server.cuts[number] if number < len(self.server.cuts) else None
        sequence = 0
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while self.server.played[number] != limit and not self.server.ended.wait(0.004):
            index = self.server.played[number]
            units = [unit for unit in _nal_units(self.server.frames[index % len(self.server.frames)]) if unit]
            for unit in units:
                last = 0x80 if unit is units[-1] else 0
                header = struct.pack("!BBHII", 0x80, last | 96, sequence % 65536, index * 3600, 7)
                self.wfile.write(struct.pack("!BBH", 0x24, 0, len(header) + len(unit)) + header + unit)
                sequence += 1
            self.server.played[number] += 1


def _nal_units(data: bytes) -> list[bytes]:
    return [unit.removesuffix(b"\0") for unit in data.split(b"\0\0\1")[1:]]
