import json
from pathlib import Path
from typing import Any

import pytest

from src.commands.hub.card import read_rows

ROW = {"method": "dis", "key_interval": 5, "miou": 0.5, "iou_per_class": {"road": None}}


def test_rows_of_an_evaluation_are_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([ROW]))
    assert read_rows(path) == [ROW]


@pytest.mark.parametrize(
    "change", [{"miou": "0.5"}, {"method": None}, {"gflops": [1]}, {"iou_per_class": 3}, {"iou_per_class": {"road": "0.5"}}]
)
def test_values_of_another_type_are_refused_in_one_line(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([ROW | change]))
    with pytest.raises(ValueError, match=r"rows\.json has no rows of methods and key intervals; expected"):
        read_rows(path)
