"""Predictions of clip segmentors: the published clip rule, and no options of key frames."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from PIL import Image

from src.command_line.arguments import quote_paths
from src.commands.clip_models.prediction import clip_predictor
from src.commands.predict import predict
from src.inference.clip_stream import ClipStream, label_map
from src.inference.video.outputs import OutputOptions
from src.weights.clip_folder import save_clip_model
from tests.models.clip_segmentors.tiny import random_frames, tiny_mrcfa

ROOT = Path(__file__).resolve().parents[3]


def config(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("predict", quote_paths(["device=cpu", *overrides]))


@torch.no_grad()
def test_frames_are_labelled_by_the_published_clip_rule(tmp_path: Path) -> None:
    network, frames = tiny_mrcfa(), random_frames(5)
    # The sides of a data set leave frames of multiples of 32 unstretched.
    model = save_clip_model(network, tmp_path / "model", {"classes": list("abcde"), "short_side": 480, "max_long_side": 853})
    (tmp_path / "in").mkdir()
    for number, frame in enumerate(frames):
        Image.fromarray(frame.permute(1, 2, 0).numpy()).save(tmp_path / "in" / f"{number:03d}.png")
    done = predict(config(f"checkpoint={model}", f"input={tmp_path / 'in'}", f"output={tmp_path / 'out'}", "labels=true"))
    assert (done.frames, done.progress.key_share) == (5, 1.0)
    files = sorted((tmp_path / "out" / "labels").iterdir())
    labels = [torch.from_numpy(np.array(Image.open(file))).long() for file in files]
    assert torch.equal(labels[1], label_map(network.predict_alone(network.encode(frames[1:2])), (64, 96), (64, 96))[0])
    logits = network.training_outputs(frames[[0, 2, 3, 4]][None]).clip_logits[:, -1]
    assert torch.equal(labels[4], label_map(logits, (64, 96), (64, 96))[0])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("key_interval=3", "key_interval is 3"),
        ("mode=offline", "mode is offline"),
        ("flow=dis", "flow is dis"),
        ("scheduler=adaptive", "scheduler is Adaptive"),
        ("runtime=openvino", "runtime is openvino"),
        ("flow_pictures=true", "flow_pictures is True"),
    ],
)
def test_options_of_key_frames_are_refused(tmp_path: Path, override: str, message: str) -> None:
    model = save_clip_model(tiny_mrcfa(), tmp_path / "model")
    image = tmp_path / "one.png"
    Image.new("RGB", (96, 64)).save(image)
    with pytest.raises(ValueError, match=message) as caught:
        predict(config(f"checkpoint={model}", f"input={image}", f"output={tmp_path / 'out'}", override))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("metadata", "overrides", "size"),
    [
        ({}, [], (480, 864)),
        ({"short_side": None, "max_long_side": None}, [], (64, 128)),
        ({"short_side": 96, "max_long_side": None}, [], (96, 192)),
        ({}, ["short_side=null", "max_long_side=null"], (64, 128)),
        ({}, ["short_side=128", "max_long_side=null"], (128, 256)),
    ],
)
def test_sizes_are_those_of_the_model_unless_given(
    tmp_path: Path, metadata: dict[str, int | None], overrides: list[str], size: tuple[int, int]
) -> None:
    model = save_clip_model(tiny_mrcfa(), tmp_path / "model", metadata)
    cfg = config(f"checkpoint={model}", "input=x", "output=y", *overrides)
    stream = clip_predictor(cfg, OutputOptions(), "cpu").stream
    assert isinstance(stream, ClipStream)
    assert stream.sizes((60, 107))[1] == size
