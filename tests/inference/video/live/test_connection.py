import base64
import socket
import threading
from http.server import BaseHTTPRequestHandler

import pytest
import torch

from src.inference.video.live.connection import RemoteFrames, _Pace
from src.inference.video.live.latest import LiveFrames, LiveOptions, Retry
from src.inference.video.live.opening import open_address
from tests.inference.tiny import frames
from tests.inference.video.live.servers import RtspServer, access_units, encoded, send, web_server

CLIP = frames(10, (48, 64))


def test_a_recording_behind_http_is_read_whole_and_is_not_live() -> None:
    data = encoded(CLIP, "matroska")
    with web_server(lambda request: send(request, data, length=True)) as address:
        source = open_address(f"{address}/a.mkv")
        found = list(source)
    assert isinstance(source, RemoteFrames) and source.decode_errors == []
    assert [round(25 * float(frame.time)) for frame in found] == list(range(10))
    assert all((frame.image.float() - image).abs().mean() < 40 for frame, image in zip(found, CLIP, strict=True))


def test_every_frame_that_arrives_is_read_or_dropped_over_a_cut() -> None:
    parts, asked = [encoded(CLIP), encoded(CLIP[:5])], []

    def reply(request: BaseHTTPRequestHandler) -> None:
        asked.append(request.path)
        # The first connection only looks at the stream; the third is refused.
        if len(asked) == 3 or len(asked) > 4:
            request.send_error(503)
        else:
            send(request, parts[len(asked) == 4], length=False)

    with web_server(reply) as address:
        source = open_address(f"{address}/live", LiveOptions(live=True, retry=Retry(0.01, 3)))
        assert isinstance(source, LiveFrames)
        found = list(source)
    # Frames that wait for their time are not late, so that even a slow machine reads the last one of each connection.
    assert len(found) + source.dropped == 15 and source.reconnects == 1
    assert found[-1].name == "000014" and {frame.part for frame in found} == {0, 2}
    assert len(source.decode_errors) == 1 and "after 15 frames and 3 attempts" in source.decode_errors[0]


def test_rtsp_survives_a_cut_and_its_password_is_used_and_not_shown() -> None:
    server = RtspServer(access_units(CLIP), cut_after=[60, 30])
    server.needs_password = True
    with server.running() as address:
        source = open_address(f"rtsp://me:s3cret@{address}", LiveOptions(retry=Retry(0.05, 20)))
        assert isinstance(source, LiveFrames) and source.info.name == f"rtsp://***@{address}"
        found = [frame for frame, _ in zip(source, range(200), strict=False)]
    assert len(found) == 200 and source.reconnects >= 1 and found[-1].part >= 1
    assert found[0].image.shape == (3, 48, 64)
    assert server.credentials == {"Basic " + base64.b64encode(b"me:s3cret").decode()}


def test_other_files_and_protocols_in_a_playlist_are_not_opened(tmp_path: object) -> None:
    for line in ("file:///etc/hostname", "concat:/etc/hostname|/etc/hostname", "data:video/mp2t;base64,AAAA"):
        playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{line}\n".encode()
        with (
            web_server(lambda request, text=playlist: send(request, text, True, "application/vnd.apple.mpegurl")) as address,  # type: ignore[misc]
            pytest.raises(OSError, match="Invalid data found"),
        ):
            open_address(f"{address}/a.m3u8", LiveOptions(timeout=2))


def test_hls_is_read_at_its_own_pace() -> None:
    segment = encoded(CLIP)
    playlist = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:0.4,\na.ts\n#EXT-X-ENDLIST\n"

    def reply(request: BaseHTTPRequestHandler) -> None:
        listed = request.path.endswith("m3u8")
        kind = "application/vnd.apple.mpegurl" if listed else "video/mp2t"
        send(request, playlist.encode() if listed else segment, True, kind)

    with web_server(reply) as address:
        source = open_address(f"{address}/a.m3u8")
        assert isinstance(source, RemoteFrames) and len(list(source)) == 10
        live = open_address(f"{address}/a.m3u8", LiveOptions(live=True, retry=Retry(attempts=0)))
        assert isinstance(live, LiveFrames)
        found = list(live)
    assert len(found) + live.dropped == 10


def test_frames_wait_for_their_time_and_a_jump_starts_anew() -> None:
    now, slept = [100.0], []

    def sleep(seconds: float) -> None:
        slept.append(round(seconds, 3))
        now[0] += seconds

    pace = _Pace(lambda: now[0], sleep)
    for timestamp in (5.0, 5.04, 5.08):
        pace.wait(timestamp)
    assert slept == [0.04, 0.04]
    now[0] += 3  # the connection stalled
    pace.wait(5.12)
    pace.wait(5.16)
    assert slept == [0.04, 0.04, 0.04]
    pace.wait(9000.0)
    pace.wait(9000.04)
    assert slept == [0.04] * 4


def test_no_connection_is_one_line_without_the_password() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        with pytest.raises(OSError, match=rf"^rtsp://\*\*\*@127.0.0.1:{port}/a cannot be read: Connection refused$"):
            open_address(f"rtsp://me:s3cret@127.0.0.1:{port}/a")
        free.listen()
        with pytest.raises(OSError, match=r"no data for 0.2 s$"):
            open_address(f"http://me:s3cret@127.0.0.1:{port}/a", LiveOptions(timeout=0.2))


def test_udp() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data, ended = encoded(CLIP), threading.Event()

    def broadcast() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            while not ended.is_set():
                for start in range(0, len(data), 1316):
                    sender.sendto(data[start : start + 1316], ("127.0.0.1", port))
                    ended.wait(0.002)

    thread = threading.Thread(target=broadcast, daemon=True)
    thread.start()
    try:
        source = open_address(f"udp://127.0.0.1:{port}", LiveOptions(timeout=20))
        assert isinstance(source, LiveFrames)
        found = [frame for frame, _ in zip(source, range(5), strict=False)]
    finally:
        ended.set()
        thread.join()
    assert len(found) == 5 and found[0].image.dtype == torch.uint8
