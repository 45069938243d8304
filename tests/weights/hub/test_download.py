import json
import logging
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load, save

from src.weights.checkpoints import is_clip_checkpoint, load_checkpoint
from src.weights.hub.download import HubAccess, local_folder
from src.weights.model_folder import save_model
from tests.fake_hub_server import FakeHubServer, Repository
from tests.inference.tiny import CLASSES, frames, tiny_propagator
from tests.models.families import network

NAME = "lab/streets"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_model(tiny_propagator(), tmp_path / "model", {"classes": CLASSES})


@pytest.fixture
def repository(hub: FakeHubServer, folder: Path) -> Repository:
    files = {path.name.replace(".", "__"): path.read_bytes() for path in folder.iterdir()}
    return hub.add(NAME, README__md="# Streets", evil__py="raise SystemExit", pytorch_model__bin=b"\x80", **files)


def masks(name: str | Path, **options: HubAccess) -> torch.Tensor:
    propagator, _ = load_checkpoint(name, **options)
    key, nonkey = (frame[None] for frame in frames(2))
    with torch.inference_mode():
        prediction: torch.Tensor = propagator(key, nonkey)[0].mask_logits
    return prediction


def line_of(call: object, *arguments: object, **options: object) -> str:
    with pytest.raises((OSError, ValueError)) as caught:
        call(*arguments, **options)  # type: ignore[operator]
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_model_of_the_hub_computes_the_same_bits_and_only_its_files_are_fetched(
    hub: FakeHubServer, repository: Repository, folder: Path
) -> None:
    assert torch.equal(masks(NAME), masks(folder))
    assert hub.downloads() == {"config.json", "model.safetensors", "README.md"}
    assert load_checkpoint(Path(NAME))[1] == {"classes": list(CLASSES)}
    assert not is_clip_checkpoint(NAME)


def test_a_cached_model_needs_no_connection(
    hub: FakeHubServer, repository: Repository, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = HubAccess(cache_dir=tmp_path / "elsewhere")
    local_folder(NAME)
    local_folder(NAME, elsewhere)
    hub.requests.clear()
    only_local = HubAccess(local_files_only=True)
    assert torch.equal(masks(NAME, access=only_local), masks(folder)) and not hub.requests
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert local_folder(NAME) == local_folder(NAME, only_local)
    assert local_folder(NAME, elsewhere).is_relative_to(tmp_path / "elsewhere")
    assert not hub.requests
    found = line_of(load_checkpoint, NAME, access=HubAccess(cache_dir=tmp_path / "empty"))
    assert found.startswith(f"{NAME} is not in the cache of the hub")


def test_an_unreachable_hub_is_one_line_and_its_cache_is_used(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    local_folder(NAME)
    for name in ("ENDPOINT", "HUGGINGFACE_CO_URL_TEMPLATE"):
        monkeypatch.setattr(constants, name, "http://127.0.0.1:9")
    local_folder(NAME)
    assert "does not answer" in caplog.text
    assert "lab/other is not in the cache" in line_of(local_folder, "lab/other")


def test_a_revision_is_a_branch_a_tag_or_a_commit(hub: FakeHubServer, repository: Repository, folder: Path) -> None:
    first = repository.refs["v1"] = repository.refs["main"]
    save_model(tiny_propagator(seed=6), folder)
    second = repository.commit({path.name: path.read_bytes() for path in folder.iterdir()})
    earlier, newest = masks(f"{NAME}@v1"), masks(NAME)
    assert not torch.equal(earlier, newest) and torch.equal(newest, masks(folder))
    for revision, expected in (("v1", earlier), (first, earlier), (second, newest)):
        assert torch.equal(masks(NAME, access=HubAccess(revision)), expected)
    assert "no revision 'v2'" in line_of(local_folder, f"{NAME}@v2")
    for outside in ("/etc", "../..", "a/../..", "..", "", "a\\b", "a b"):
        found = line_of(local_folder, NAME, HubAccess(outside))
        assert found == f"revision is {outside!r} for {NAME}; expected a branch, tag or commit"
    assert "expected one of them" in line_of(local_folder, f"{NAME}@v1", HubAccess("v1"))
    assert "only hub ids have one" in line_of(local_folder, folder, HubAccess("v1"))


def test_a_file_that_differs_from_its_hash_is_refused(hub: FakeHubServer, repository: Repository, folder: Path) -> None:
    weights = (folder / "model.safetensors").read_bytes()
    hub.swapped["model.safetensors"] = weights[:-1] + bytes([weights[-1] ^ 1])
    assert f"{NAME}: model.safetensors differs from the hash" in line_of(load_checkpoint, NAME)


def test_a_changed_file_in_the_cache_is_refused(hub: FakeHubServer, repository: Repository) -> None:
    path = local_folder(NAME) / "config.json"
    path.resolve().write_text(path.read_text().replace("sky", "sea"))
    assert f"{NAME}: config.json differs from the hash" in line_of(load_checkpoint, NAME)


@pytest.mark.parametrize("change", ["shape", "extra", "missing"])
def test_tensors_that_do_not_fit_are_refused(change: str, repository: Repository, folder: Path) -> None:
    tensors = load((folder / "model.safetensors").read_bytes())
    name = next(iter(tensors))
    changed = {"shape": {name: torch.zeros(3, 5)}, "extra": {"more": torch.zeros(2)}, "missing": {}}[change]
    kept = {one: value for one, value in tensors.items() if change != "missing" or one != name}
    repository.commit({"model.safetensors": save(kept | changed)})
    found = line_of(load_checkpoint, NAME)
    assert (
        found.startswith(f"{NAME} does not fit the network of its config")
        and {"extra": "unknown more"}.get(change, name) in found
    )


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"format": "mpvss-model", "format_version": 2}, f"{NAME}: format_version is 2; expected 1; update"),
        ({"format": "other"}, "format 'other'; expected 'mpvss-model'"),
        ({}, "no format and no model_type"),
        ({"format": "mpvss-model", "format_version": 1}, f"{NAME}/config.json: model config has no segmentor"),
    ],
)
def test_foreign_and_newer_models_are_refused(
    config: dict[str, object], message: str, hub: FakeHubServer, repository: Repository
) -> None:
    repository.commit({"config.json": json.dumps(config).encode()})
    assert message in line_of(load_checkpoint, NAME)
    assert "pytorch_model.bin" not in hub.downloads() and ("segmentor" in message or hub.downloads() == {"config.json"})


def test_what_is_missing_is_named(hub: FakeHubServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert f"lab/none is not on {hub.url}" in line_of(load_checkpoint, "lab/none")
    hub.add("lab/empty", README__md="")
    assert "lab/empty has no config.json" in line_of(load_checkpoint, "lab/empty")
    hub.add("lab/half", config__json=(folder / "config.json").read_bytes())
    assert "lab/half has no model.safetensors" in line_of(load_checkpoint, "lab/half")
    hub.add("lab/secret", config__json=b"{}").private = True
    monkeypatch.setenv("HF_TOKEN", "hf_other")
    assert "or private" in line_of(load_checkpoint, "lab/secret")


def test_a_model_of_transformers_has_the_same_options(
    hub: FakeHubServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    network("maskformer").save_pretrained(tmp_path / "saved")
    files = {path.name.replace(".", "__"): path.read_bytes() for path in (tmp_path / "saved").iterdir()}
    hub.add("lab/saved", pytorch_model__bin=b"\x80", modeling__py="raise SystemExit", **files).refs["v1"] = "gone"
    caplog.set_level(logging.INFO)
    propagator, _ = load_checkpoint("lab/saved", access=HubAccess(cache_dir=tmp_path / "other"))
    assert hub.downloads() == {"config.json", "model.safetensors"}
    assert "lab/saved: commit" in caplog.text and "HTTP Request" not in caplog.text
    own = load_checkpoint(tmp_path / "saved")[0].state_dict()
    assert all(torch.equal(value, own[name]) for name, value in propagator.state_dict().items())
    assert "no revision 'v1'" in line_of(load_checkpoint, "lab/saved@v1")
