from pathlib import Path

import av
import pytest
import torch

from src.inference.video import matroska
from tests.inference.tiny import frames
from tests.inference.videos import cut, make_video, zeroed

NOISE = [torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8) for _ in range(20)]


def remuxed(path: Path, target: Path, options: dict[str, str]) -> Path:
    """The same packets, written with other options of FFmpeg's muxer."""
    with av.open(str(path)) as source, av.open(str(target), "w", options=options) as container:
        streams = {stream.index: container.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                container.mux(packet)
    return target


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"live": "1"},
        {"cluster_size_limit": "5000"},
        {"cluster_time_limit": "100"},
        {"reserve_index_space": "3000"},
        {"cues_to_front": "1"},
        {"write_crc32": "0"},
    ],
)
@pytest.mark.parametrize("name", ["a.webm", "a.mkv"])
def test_sound_files_have_no_hole_however_they_are_written(tmp_path: Path, name: str, options: dict[str, str]) -> None:
    times = [40 * number + (900 if number > 7 else 0) for number in range(20)]
    path = make_video(tmp_path / "plain.mkv", NOISE, codec="libvpx", times=times, sound=not name.endswith("webm"))
    written = remuxed(path, tmp_path / name, options)
    assert matroska.hole(written) is None
    for share in (0.05, 0.3, 0.6, 0.9, 0.999):
        assert matroska.hole(cut(written, tmp_path / f"cut_{name}", share)) is None
    # One recording behind the other.
    (tmp_path / f"twice_{name}").write_bytes(written.read_bytes() * 2)
    assert matroska.hole(tmp_path / f"twice_{name}") is None


@pytest.mark.parametrize("options", [{}, {"live": "1"}, {"cluster_size_limit": "5000"}])
@pytest.mark.parametrize("start", [0.2, 0.4, 0.6])
def test_a_hole_over_the_head_of_a_block_is_found_where_it_is(tmp_path: Path, start: float, options: dict[str, str]) -> None:
    path = make_video(tmp_path / "plain.mkv", NOISE, codec="libvpx")
    written = remuxed(path, tmp_path / "a.webm", options)
    with av.open(str(written)) as container:
        largest = max(packet.size for packet in container.demux(video=0)) / written.stat().st_size
    # At least as long as a block, so that the head of one lies in it.
    found = matroska.hole(zeroed(written, tmp_path / "hole.webm", start, start + largest))
    assert found is not None and start <= found / written.stat().st_size <= start + largest


@pytest.mark.parametrize(
    "data", [b"", b"\x1a", b"\x1a\x45\xdf\xa3", b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67", b"RIFF" + bytes(40)]
)
def test_fragments_and_other_files_have_neither_hole_nor_end(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x").write_bytes(data)
    assert matroska.hole(tmp_path / "x") is None and matroska.declared_end(tmp_path / "x") == 0
    path = make_video(tmp_path / "a.mp4", frames(2, (48, 64)))
    assert matroska.hole(path) is None and matroska.declared_end(path) == 0
