from pathlib import Path

import pytest
import torch

from src import Propagator
from src.weights.model_folder import save_model
from tests.inference.tiny import CLASSES, tiny_propagator


def test_a_model_is_loaded_with_its_metadata(tmp_path: Path) -> None:
    saved = tiny_propagator("query")
    folder = save_model(saved, tmp_path / "model", {"classes": CLASSES, "short_side": 32})
    model = Propagator.from_pretrained(folder)
    assert type(model) is Propagator and not any(module.training for module in model.modules())
    assert list(model.metadata["classes"]) == list(CLASSES) and model.metadata["short_side"] == 32
    assert model.state_dict().keys() == saved.state_dict().keys()
    assert all(torch.equal(value, saved.state_dict()[name]) for name, value in model.state_dict().items())
    with pytest.raises(FileNotFoundError, match="nothing does not exist; expected a model folder"):
        Propagator.from_pretrained("nothing")
