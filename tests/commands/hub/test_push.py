"""Upload of models by ``src.push`` and at the end of a training, and prediction by the id of the repository."""

import json
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from PIL import Image

from src.command_line.arguments import quote_paths
from src.commands.hub.push import push
from src.commands.predict import predict
from src.commands.train import train
from src.weights.checkpoints import load_checkpoint
from src.weights.clip_folder import save_clip_model
from src.weights.model_folder import load_model, save_model
from tests.fake_hub_server import FakeHubServer
from tests.inference.tiny import CLASSES, frames, tiny_propagator
from tests.models.clip_segmentors.tiny import tiny_mrcfa
from tests.tiny_run import ROOT, compose_train, overrides
from tests.weights.hub.test_card import ROWS

pytestmark = [
    pytest.mark.filterwarnings("ignore:The 'val_dataloader' does not have many workers"),
    pytest.mark.filterwarnings("ignore:The 'train_dataloader' does not have many workers"),
    pytest.mark.filterwarnings("ignore:Found .* module.* in eval mode"),
]
NAME = "lab/streets"


def config(command: str, *options: str) -> DictConfig:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose(command, quote_paths(options))


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "street.png"
    Image.fromarray(frames(1)[0].permute(1, 2, 0).to(torch.uint8).numpy()).save(path)
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save_model(tiny_propagator(), tmp_path / "runs" / "model", {"classes": CLASSES, "short_side": 32, "data": "camvid"})


def card(hub: FakeHubServer, name: str = NAME) -> ModelCard:
    return ModelCard(hub.repositories[name].files()["README.md"].decode())


def test_a_folder_is_pushed_with_scores_cost_picture_and_command(
    hub: FakeHubServer, model: Path, picture: Path, tmp_path: Path
) -> None:
    table = tmp_path / "table.json"
    table.write_text(json.dumps(ROWS))
    (model.parent / ".hydra").mkdir()
    (model.parent / ".hydra" / "overrides.yaml").write_text("- experiment=own\n- name=a b\n")
    push(config("push", f"input={model}", f"repo_id={NAME}", f"evaluation={table}", f"picture={picture}", "license=mit"))
    files = hub.repositories[NAME].files()
    pictures = {"widget.png", "prediction.png", "key_intervals.png"}
    assert set(files) == {".gitattributes", "config.json", "model.safetensors", "README.md"} | pictures
    found = card(hub)
    assert found.data.license == "mit" and len(found.data.eval_results or ()) == 3 and found.data.widget
    for expected in ("python -m src.train experiment=own 'name=a b'", "average at key interval 5", "32x57 pixels"):
        assert expected in found.text
    with Image.open(model / "prediction.png") as shown, Image.open(picture) as original:
        assert shown.size == original.size and shown.tobytes() != original.tobytes()


def test_a_card_is_kept_unless_its_replacement_is_requested(hub: FakeHubServer, model: Path) -> None:
    (model / "README.md").write_text("# Mine\n")
    push(config("push", f"input={model}", f"repo_id={NAME}"))
    assert hub.repositories[NAME].files()["README.md"] == b"# Mine\n"
    with pytest.raises(FileExistsError, match=r"README\.md exists, and license is for a new card"):
        push(config("push", f"input={model}", f"repo_id={NAME}", "license=mit"))
    push(config("push", f"input={model}", f"repo_id={NAME}", "license=mit", "overwrite=true", "message=Better"))
    assert card(hub).data.license == "mit" and hub.repositories[NAME].messages[-1] == "Better"


def test_a_clip_segmentor_is_pushed_and_predicts_by_its_id(hub: FakeHubServer, picture: Path, tmp_path: Path) -> None:
    folder = save_clip_model(
        tiny_mrcfa(), tmp_path / "clips", {"classes": list("abcde"), "short_side": 64, "max_long_side": None}
    )
    push(config("push", f"input={folder}", "repo_id=lab/clips", f"picture={picture}", "private=true"))
    assert hub.repositories["lab/clips"].private and "every frame" in card(hub, "lab/clips").text
    options = [f"input={picture}", "device=cpu", "labels=true"]
    for name, checkpoint in (("by_id", "lab/clips"), ("by_path", str(folder))):
        predict(config("predict", *options, f"checkpoint={checkpoint}", f"output={tmp_path / name}"))
    (first,), (second,) = (sorted((tmp_path / name / "labels").iterdir()) for name in ("by_id", "by_path"))
    assert first.read_bytes() == second.read_bytes()


def test_other_folders_and_tables_are_refused(hub: FakeHubServer, model: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.json"
    for content, message in (("[", "not valid JSON"), ('[{"miou": 1}]', "no rows of methods"), ("{}", "no rows of methods")):
        table.write_text(content)
        with pytest.raises(ValueError, match=message):
            push(config("push", f"input={model}", f"repo_id={NAME}", f"evaluation={table}"))
    with pytest.raises(FileNotFoundError, match=r"config\.json does not exist"):
        push(config("push", f"input={tmp_path / 'none'}", f"repo_id={NAME}"))
    assert not hub.requests


def test_a_training_pushes_its_model_with_a_card(hub: FakeHubServer, picture: Path, tmp_path: Path) -> None:
    options = [*overrides(tmp_path / "scenes", tmp_path), "stage=segmentor", "trainer.max_steps=4"]
    train(compose_train(*options, f"hub.repo_id={NAME}", "hub.push=true", "hub.private=true", f"hub.picture={picture}"))
    folder = tmp_path / "default" / "segmentor" / "model"
    repository = hub.repositories[NAME]
    assert repository.private and repository.files()["model.safetensors"] == (folder / "model.safetensors").read_bytes()
    assert [one.metric_name for one in card(hub).data.eval_results or ()] == ["mIoU, validation, all frames"]
    assert all(part in card(hub).text for part in ("moving_scenes", "| segmentor", "key frame", "| wall"))
    key, nonkey = (frame[None] for frame in frames(2))
    with torch.inference_mode():
        assert torch.equal(*(load(key, nonkey)[0].mask_logits for load in (load_checkpoint(NAME)[0], load_model(folder)[0])))
    hub.refuse = f"/api/models/{NAME}/commit"
    with pytest.raises(OSError, match=r"the model is saved to .*model, but not uploaded: .*403.*src\.push input="):
        train(compose_train(*options, f"hub.repo_id={NAME}", "hub.push=true", "overwrite=true", "seed=1"))
    assert load_model(folder)


def test_a_training_does_not_start_with_a_target_that_cannot_work(
    hub: FakeHubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = [*overrides(tmp_path / "scenes", tmp_path), "stage=propagation"]
    for extra, message in (
        (["hub.push=true"], r"hub\.repo_id is null and hub\.push is set"),
        ([f"hub.repo_id={NAME}", "hub.push=true", "job=3"], "in job 3 of a multirun"),
        (["hub.license=mit"], r"hub\.repo_id is null and hub\.license is set"),
        (["hub.repo_id=streets"], "expected <owner>/<name>"),
        (["hub.repo_id=stranger/streets", "hub.push=true"], "an owner of someone, lab"),
        ([f"hub.repo_id={NAME}", f"hub.picture={tmp_path / 'none.png'}"], "none.png"),
    ):
        with pytest.raises((OSError, ValueError), match=message):
            train(compose_train(*options, *extra))
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(ValueError, match="no token for"):
        train(compose_train(*options, f"hub.repo_id={NAME}", "hub.push=true"))
    folder = tmp_path / "default" / "propagation" / "model"
    folder.mkdir(parents=True)
    (folder / "README.md").write_text("# Mine\n")
    with pytest.raises(FileExistsError, match="was not written by this project"):
        train(compose_train(*options, f"hub.repo_id={NAME}"))
    assert not hub.repositories and [path.name for path in folder.iterdir()] == ["README.md"]
