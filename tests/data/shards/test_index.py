"""Law: an index returns the place of every file, also after a round trip through JSON (refusals: test_reader.py)."""

from src.data.shards.index import Member, ShardFile, ShardIndex

MEMBERS = {f"v{i // 50}/{i:06d}.jpg": Member(0, 512 * i, 100, i) for i in range(1000)} | {"train.txt": Member(1, 512, 0, 0)}
SHARDS = [ShardFile("shard_000000.tar", 512 * 1000), ShardFile("shard_000001.tar", 2048)]


def test_every_file_is_found_and_nothing_else() -> None:
    index = ShardIndex.of(SHARDS, MEMBERS)
    assert {name: index.find(name) for name in MEMBERS} == MEMBERS and list(index.files()) == list(MEMBERS)
    assert index.find("v0/000050.jpg") is None and index.find("v0") is None
    assert index.is_folder("v0") and index.is_folder("") and not index.is_folder("train.txt")
    assert set(index.entries("")) == {"train.txt", *(f"v{i}" for i in range(20))}


def test_json_round_trip() -> None:
    index = ShardIndex.of(SHARDS, MEMBERS)
    again = ShardIndex.from_json(index.to_json())
    assert again.to_json() == index.to_json() and again.shards == tuple(SHARDS)
    assert {name: again.find(name) for name in MEMBERS} == MEMBERS
