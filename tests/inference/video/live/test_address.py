import pytest

from src.inference.video.live.address import READ, check_address, is_address, masked


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtsp://user:pass@host:554/a/b", "rtsp://***@host:554/a/b"),
        ("rtsp://user:p@ss@host/a", "rtsp://***@host/a"),
        ("https://host/live.m3u8?token=secret#x", "https://host/live.m3u8?***"),
        ("rtmp://host/live/stream-key", "rtmp://host/***"),
        ("udp://@239.0.0.1:1234", "udp://***@239.0.0.1:1234"),
        ("http://[bad", "http://***"),
        ("rtsp://user:pa/ss@host/a", "rtsp://***"),
        ("rtsp://user:p@a/ss@host/a", "rtsp://***"),
        ("rtsp://user:pa#ss@host/a", "rtsp://***"),
    ],
)
def test_addresses_are_shown_without_credentials(address: str, shown: str) -> None:
    assert is_address(address) and masked(address) == shown


@pytest.mark.parametrize("text", ["drive.mp4", "0", "C:/drive.mp4", "frames/a:b", "./rtsp:/x"])
def test_paths_are_no_addresses(text: str) -> None:
    assert not is_address(text)


@pytest.mark.parametrize("address", ["file:///etc/passwd", "concat://a|b", "ftp://user:pass@host/a", "data://x", "pipe://0"])
def test_other_protocols_are_refused(address: str) -> None:
    with pytest.raises(ValueError, match="expected a file or an address that begins with rtsp") as found:
        check_address(address, "input", READ)
    assert "pass@" not in str(found.value)


def test_an_address_needs_a_host() -> None:
    with pytest.raises(ValueError, match="expected rtsp://<host>"):
        check_address("rtsp:///path", "input", READ)
    with pytest.raises(ValueError, match="expected http://<host>"):
        check_address("http://host:port/path", "input", READ)
