"""Laws of tables: JSON, CSV and Markdown hold the same values, and no file is lost."""

import json
import os
from pathlib import Path

import pytest

from src.files import atomic_write as writing
from src.files.tables import check_output, markdown_table, new_path, number, without_nan, write_table

ROWS = [{"method": "query", "k": 5, "iou": {"sky": 0.25}}, {"method": "copy", "k": None, "iou": {}, "ms": 0.1}]


def test_the_csv_keeps_columns_and_whole_numbers(tmp_path: Path) -> None:
    """Whole numbers stay whole beside a missing one, and columns keep the order in which they come."""
    json_path, csv_path = write_table(ROWS, tmp_path / "deep" / "table.json")
    assert json.loads(json_path.read_text()) == ROWS
    assert csv_path.read_text() == "method,k,iou/sky,ms\nquery,5,0.25,\ncopy,,,0.1\n"


def test_markdown_survives_bars_and_numbers() -> None:
    head, rule, *lines = markdown_table(["name", "value"], [["a|b", "010"], ["c", "-"]]).splitlines()
    cells = [[cell.strip() for cell in line.replace("\\|", "/").strip("|").split("|")] for line in (head, *lines)]
    assert cells == [["name", "value"], ["a/b", "010"], ["c", "-"]] and set(rule) <= set("|:-")


def test_missing_values_are_dashes_and_null() -> None:
    assert (number(0.12345, 2, 100), number(None), number(float("nan")), number(None, missing="")) == ("12.35", "-", "-", "")
    assert without_nan({"a": float("inf"), "b": {"c": float("nan"), "d": 1}}) == {"a": None, "b": {"c": None, "d": 1}}


def test_files_are_overwritten_only_on_request(tmp_path: Path) -> None:
    path = check_output(tmp_path / "table.json", overwrite=False)
    write_table(ROWS, path)
    path.unlink()
    with pytest.raises(FileExistsError, match=r"table\.csv exist.*overwrite=true"):
        check_output(path, overwrite=False)
    write_table(ROWS, path)
    assert check_output(path, overwrite=True) == path
    with pytest.raises(ValueError, match=r"expected a name that ends in \.json"):
        check_output(tmp_path / "table.csv", overwrite=True)


def test_a_failed_write_leaves_the_earlier_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, _ = write_table(ROWS, tmp_path / "table.json")
    before = path.read_text()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(writing.os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_table([*ROWS, *ROWS], path)
    assert path.read_text() == before and len(list(tmp_path.iterdir())) == 2


def test_new_paths_may_be_empty_folders(tmp_path: Path) -> None:
    assert new_path(None, overwrite=False) is None and new_path(str(tmp_path), overwrite=False) == tmp_path
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError, match="set overwrite=true"):
        new_path(str(tmp_path), overwrite=False)


@pytest.mark.parametrize("name", ["table.json", "table.csv"])
@pytest.mark.parametrize("content", ["mine", "[]", "{}", "[1, 2]", '{"a": 1}', "a,b\n1,2\n", ""])
@pytest.mark.parametrize("beside", [False, True])
def test_a_file_that_is_no_table_is_not_replaced(tmp_path: Path, name: str, content: str, beside: bool) -> None:
    if beside:
        write_table(ROWS, tmp_path / "table.json")
    (tmp_path / name).write_text(content)
    with pytest.raises(FileExistsError, match="expected a table's JSON and CSV with the same columns"):
        check_output(tmp_path / "table.json", overwrite=True)


def test_only_marked_folders_and_files_of_the_suffix_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "per_class.json").write_text("mine")
    with pytest.raises(FileExistsError, match=r"mine has files and no finished\.json of this project"):
        new_path(str(tmp_path / "mine"), overwrite=True)
    (tmp_path / "folder.mp4").mkdir()
    os.mkfifo(tmp_path / "pipe.mp4")
    for name in ("folder.mp4", "pipe.mp4"):
        with pytest.raises(FileExistsError, match=f"{name} is no file; expected a file to replace"):
            new_path(str(tmp_path / name), overwrite=True, suffix=".mp4")
    (tmp_path / "model.safetensors").write_text("mine")
    with pytest.raises(ValueError, match=r"expected a name that ends in \.mp4"):
        new_path(str(tmp_path / "model.safetensors"), overwrite=True, suffix=".mp4")
    os.mkfifo(tmp_path / "table.json")
    with pytest.raises(FileExistsError, match=r"table\.json: expected a table"):
        check_output(tmp_path / "table.json", overwrite=True)


def test_a_path_below_a_file_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for refused in (lambda: new_path(str(tmp_path / "file" / "a"), False), lambda: check_output(tmp_path / "file/a.json", False)):
        with pytest.raises(NotADirectoryError, match="file is no folder; choose another output"):
            refused()
