import json
from pathlib import Path

import torch

from src.models.flow.query import QueryFlow
from src.weights.mpvss_names import motion_names


def test_every_tensor_has_exactly_one_official_name() -> None:
    with torch.device("meta"):
        ours = list(QueryFlow().state_dict())
    names = motion_names()
    assert len(set(names.values())) == len(names) == 165
    assert sorted(name for (name,) in names.values()) == sorted(ours)


def test_every_official_tensor_fits_ours(goldens: Path) -> None:
    layout = {name: tuple(shape) for name, shape in json.loads((goldens / "flow" / "motion_state_dict.json").read_text())}
    names = motion_names()
    assert set(names) == set(layout)
    with torch.device("meta"):
        ours = QueryFlow().state_dict()
    assert {name: tuple(ours[name].shape) for name in ours} == {names[name][0]: shape for name, shape in layout.items()}
