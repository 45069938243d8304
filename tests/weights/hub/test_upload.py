from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard, constants

from src.weights.checkpoints import load_checkpoint
from src.weights.hub.card import CardFacts, write_card
from src.weights.hub.download import HubAccess
from src.weights.hub.upload import check_upload, push_folder
from src.weights.model_folder import save_model
from tests.fake_hub_server import FakeHubServer
from tests.inference.tiny import frames, tiny_propagator


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = save_model(tiny_propagator(), tmp_path / "model", {"data": "camvid"})
    (folder / "notes.txt").write_text("mine")
    write_card(folder, CardFacts("lab/streets", "mit"))
    return folder


def test_what_is_uploaded_is_loaded_elsewhere_bit_for_bit(hub: FakeHubServer, folder: Path, tmp_path: Path) -> None:
    url = push_folder(folder, "lab/streets", message="First")
    repository = hub.repositories["lab/streets"]
    assert url == f"{hub.url}/lab/streets/commit/{repository.refs['main']}" and repository.messages[-1] == "First"
    assert set(repository.files()) == {".gitattributes", "config.json", "model.safetensors", "README.md"}
    assert ModelCard(repository.files()["README.md"].decode()).data.license == "mit" and not repository.private
    # The weights went by LFS, and everything in one commit after the one that creates the repository.
    assert hub.large and len(repository.commits) == 2
    loaded = load_checkpoint("lab/streets", access=HubAccess(cache_dir=tmp_path / "another"))[0]
    key, nonkey = (frame[None] for frame in frames(2))
    with torch.inference_mode():
        assert torch.equal(loaded(key, nonkey)[0].mask_logits, tiny_propagator()(key, nonkey)[0].mask_logits)


def test_a_second_upload_replaces_the_files_and_keeps_the_visibility(hub: FakeHubServer, folder: Path) -> None:
    push_folder(folder, "someone/streets", private=True)
    push_folder(folder, "someone/streets", private=False)
    repository = hub.repositories["someone/streets"]
    assert repository.private and len(repository.commits) == 2  # nothing had changed
    save_model(tiny_propagator(seed=6), folder)
    push_folder(folder, "someone/streets")
    assert repository.files()["model.safetensors"] == (folder / "model.safetensors").read_bytes()


def test_a_model_of_another_kind_is_not_replaced(hub: FakeHubServer, folder: Path, tmp_path: Path) -> None:
    repository = hub.add("lab/other", config__json='{"model_type": "bert"}')
    with pytest.raises(FileExistsError, match=r"lab/other has a config\.json of another kind"):
        push_folder(folder, "lab/other")
    assert set(repository.files()) == {"config.json"}
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="of another kind; expected a model folder"):
        push_folder(tmp_path, "lab/new")
    assert "lab/new" not in hub.repositories


def test_rights_are_checked_by_one_request(hub: FakeHubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    check_upload("lab/streets")
    check_upload("someone/streets")
    assert hub.requests == ["GET /api/whoami-v2"] * 2
    for repo_id, message in (
        ("streets", "expected <owner>/<name>"), ("lab/a b", "no id of the hub"), ("lab/a--b", "no id of the hub"),
        ("stranger/streets", "an owner of someone, lab"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            check_upload(repo_id)
    monkeypatch.setenv("HF_TOKEN", "hf_old")
    with pytest.raises(OSError, match="Invalid user token"):
        check_upload("lab/streets")
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(ValueError, match="no token for http"):
        check_upload("lab/streets")
    check_upload("lab/streets", token="hf_fake")
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(OSError, match="refused or broke off"):
        check_upload("lab/streets", token="hf_fake")


def test_a_refused_upload_is_one_line(hub: FakeHubServer, folder: Path) -> None:
    hub.refuse = "/api/models/lab/streets/commit"
    with pytest.raises(OSError, match=r"lab/streets: .* refused or broke off: .*403") as caught:
        push_folder(folder, "lab/streets")
    assert "\n" not in str(caught.value)
