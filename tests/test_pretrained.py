from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard

from src import Propagator
from src.weights.model_folder import save_model
from tests.fake_hub_server import used_hub
from tests.inference.tiny import CLASSES, frames, tiny_propagator


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


def test_a_model_comes_back_from_the_hub_with_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = tiny_propagator()
    model = Propagator(tiny.segmentor, tiny.flow, metadata={"classes": list(CLASSES), "short_side": 32}).eval()
    with used_hub(tmp_path, monkeypatch) as hub:
        first = model.push_to_hub("lab/streets", private=True, license="mit").rpartition("/")[2]
        model.metadata["classes"][0] = "ceiling"
        model.push_to_hub("lab/streets", commit_message="Name the ceiling")
        repository = hub.repositories["lab/streets"]
        assert repository.private and repository.messages[1:] == ["Upload model", "Name the ceiling"]
        card = ModelCard(repository.files()["README.md"].decode())
        assert "average at key interval 5" in card.text and "32x57 pixels" in card.text and card.data.license is None
        loaded = Propagator.from_pretrained("lab/streets", revision=first, cache_dir=tmp_path / "another")
        assert loaded.metadata["classes"] == list(CLASSES)
        newest = Propagator.from_pretrained("lab/streets", token="hf_fake")
        assert newest.metadata["classes"][0] == "ceiling"
        again = Propagator.from_pretrained("lab/streets", local_files_only=True)
    saved = Propagator.from_pretrained(model.save_pretrained(tmp_path / "saved"))
    key, nonkey = (frame[None] for frame in frames(2))
    with torch.inference_mode():
        expected = model(key, nonkey)[0].mask_logits
        for other in (loaded, newest, again, saved):
            assert torch.equal(other(key, nonkey)[0].mask_logits, expected)
