import pytest

from src.data.writing import write_text, written_whole


def test_a_file_is_there_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "a.png"
    with pytest.raises(RuntimeError), written_whole(path) as unfinished:
        assert unfinished.suffix == ".png" and unfinished != path
        unfinished.write_text("half")
        raise RuntimeError
    assert list(path.parent.iterdir()) == []
    write_text(path, "old")
    with pytest.raises(KeyboardInterrupt), written_whole(path) as unfinished:
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    write_text(path, "ü")
    assert [p.read_text(encoding="utf-8") for p in path.parent.iterdir()] == ["ü"]
