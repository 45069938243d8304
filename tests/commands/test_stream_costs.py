from types import SimpleNamespace

import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from src.commands.stream_costs import with_facts
from src.inference.scheduling.scheduler import FixedInterval
from src.inference.streaming import StreamingSegmentor
from src.inference.video.outputs import OutputOptions
from src.inference.video.predictor import VideoPredictor
from tests.inference.tiny import tiny_propagator


@pytest.mark.parametrize(
    ("source", "option", "shown"),
    [
        ("rtsp://user:secret@host/a", "input=rtsp://user:secret@host/a", "'input=rtsp://***@host/a'"),
        ("http://host/a?key=secret", "++input='http://host/a?key=secret'", "'input=http://host/a?***'"),
        ("drive.mp4", "input=drive.mp4", "input=drive.mp4"),
    ],
)
def test_the_command_in_a_report_has_no_credentials(
    source: str, option: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HydraConfig, "initialized", lambda: True)
    monkeypatch.setattr(
        HydraConfig, "get", lambda: SimpleNamespace(overrides=SimpleNamespace(task=[option, "checkpoint=street"]))
    )
    stream = StreamingSegmentor(tiny_propagator(), FixedInterval(5))
    predictor = VideoPredictor(stream, ["a"], [(0, 0, 0)], OutputOptions(), None)
    about = with_facts(predictor, OmegaConf.create({"input": source, "checkpoint": "street"}), {}).about
    assert about.command == f"python -m src.predict {shown} checkpoint=street"
