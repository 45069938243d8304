import pytest

from src.data.integrity.exclusion import Exclusion


def test_a_written_list_is_read_back(tmp_path):
    exclusion = Exclusion(("data/ü v/origin/1.jpg",), ("video",), ("twice",))
    exclusion.write(tmp_path / "list.json")
    assert Exclusion.read(tmp_path / "list.json") == exclusion
    (tmp_path / "list.json").write_text("{}")
    assert Exclusion.read(tmp_path / "list.json") == Exclusion()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("files", "is not JSON"),
        ("[]", "holds list; expected an object with the keys files, videos, repeated"),
        ('{"file": []}', r"holds \['file'\]"),
        ('{"files": "a"}', "'files' is 'a'; expected a list of names"),
        ('{"videos": [1]}', r"'videos' is \[1\]"),
        ('{"files": ["../a.jpg"]}', r"'\.\./a\.jpg' is not a path below the root"),
        ('{"files": ["/a.jpg"]}', r"'/a\.jpg' is not a path below the root"),
    ],
)
def test_malformed_lists_are_refused_by_name(tmp_path, text, message):
    path = tmp_path / "list.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"list\.json.*{message}"):
        Exclusion.read(path)


def test_a_missing_list_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.json does not exist; expected an exclusion list"):
        Exclusion.read(tmp_path / "none.json")
