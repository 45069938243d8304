from scripts.make_shards import main
from src.data.datasets.vspw import VSPW
from tests.data.fake_layouts import write_vspw
from tests.data.sharding import range_server


def test_shards_are_made_checked_and_read(tmp_path, capsys):
    source, target = write_vspw(tmp_path / "plain", {"a": ["1", "4"], "b": ["0"]}), tmp_path / "shards"
    (source / "frames.zip").write_bytes(bytes(5000))
    assert main([str(source), str(target), "--shard-mb", "0.002", "--leave-out", "*.zip"]) == 0
    assert "7 files, 0.0 MB, in 7 shards" in capsys.readouterr().out
    assert [len(clip) for clip in VSPW(target, "train", num_classes=8).clips] == [2, 1]
    with range_server(target) as server:
        assert main(["--check", server.url]) == 0
        assert "7 files in 7 shards, 0 of them damaged" in capsys.readouterr().out
        assert main(["--time", str(source), str(target), server.url, "--num-images", "2"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [f"read: {root}" in "".join(lines) for root in (source, target, server.url)] == [True] * 3 and len(lines) == 6
        assert sum(request.startswith("shard_") for request in server.requests) == 7 + 3 * 2


def test_damage_and_wrong_folders_show_in_the_exit_code(tmp_path, capsys):
    source, target = write_vspw(tmp_path / "plain", {"a": ["1", "4"]}), tmp_path / "shards"
    assert main([str(source), str(target)]) == 0
    content = bytearray((target / "shard_000000.tar").read_bytes())
    content[512] ^= 1
    (target / "shard_000000.tar").write_bytes(content)
    capsys.readouterr()
    assert main(["--check", str(target)]) == 1
    printed = capsys.readouterr().out
    assert "/train.txt: checksum" in printed and "5 files in 1 shards, 1 of them damaged" in printed
    assert main([str(source), str(target)]) == 2
    assert "these shards are complete" in capsys.readouterr().out
