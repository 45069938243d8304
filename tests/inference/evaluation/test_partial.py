import json
from pathlib import Path

import pytest

from src.inference.evaluation.partial import check_partial, keep_finished, remove_partial


def test_finished_rows_are_kept_beside_the_output_until_the_table_is_complete(tmp_path: Path) -> None:
    output, partial = tmp_path / "t.json", tmp_path / "t.partial.json"
    keep_finished([{"method": "copy", "miou": 0.5}], ["query, fixed, k=5"], output)
    assert json.loads(partial.read_text()) == {
        "complete": False,
        "rows": [{"method": "copy", "miou": 0.5}],
        "missing": ["query, fixed, k=5"],
    }
    assert [path.name for path in tmp_path.iterdir()] == ["t.partial.json"]
    check_partial(output)
    remove_partial(output)
    assert not list(tmp_path.iterdir())
    remove_partial(output)


def test_without_a_finished_row_there_is_no_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    keep_finished([], ["copy, fixed, k=5"], tmp_path / "t.json")
    assert not list(tmp_path.iterdir()) and "no result was finished" in caplog.text


@pytest.mark.parametrize("content", ["[1, 2]", "notes", '{"complete": true, "rows": [], "missing": []}', '{"complete": false}'])
def test_a_file_of_another_origin_is_refused_and_never_removed(tmp_path: Path, content: str) -> None:
    (tmp_path / "t.partial.json").write_text(content)
    with pytest.raises(FileExistsError, match=r"t\.partial\.json is no partial result"):
        check_partial(tmp_path / "t.json")
    remove_partial(tmp_path / "t.json")
    assert (tmp_path / "t.partial.json").read_text() == content
