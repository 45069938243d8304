import inspect
import re
from pathlib import Path

import pytest
from hydra.utils import get_object

from src.options.check import describe
from src.options.signatures import parameters

CONF = Path(__file__).resolve().parents[2] / "conf"
TARGETS = {name for path in CONF.rglob("*.yaml") for name in re.findall(r"_target_: ([\w.]+)", path.read_text())}


@pytest.mark.parametrize("target", sorted(name for name in TARGETS if name.startswith(("src.", "lightning."))))
def test_names_equal_those_of_the_imported_target(target: str) -> None:
    read = parameters(target)
    if read is not None:
        assert set(read) == set(inspect.signature(get_object(target)).parameters)


@pytest.mark.parametrize(
    "target, name, text",
    [
        ("src.models.flow.DISFlow", "preset", "ultrafast | fast | medium | fine"),
        ("src.models.flow.QueryFlow", "encoder_channels", "list of integer"),
        ("src.models.flow.RAFTFlow", "weights", "text | null"),
        ("src.models.segmentors.mask2former.Mask2FormerSegmentor.from_backbone", "drop_path", "number"),
        ("src.data.synthetic.moving_scenes.MovingScenes", "size", "[integer, integer]"),
        ("src.data.datasets.camvid.CamVid", "root", "text | a path"),
        ("src.training.optim.AdamWPoly", "warmup_steps", "integer"),
        ("lightning.Trainer", "sync_batchnorm", "true | false"),
    ],
)
def test_types_are_those_of_the_annotations(target: str, name: str, text: str) -> None:
    read = parameters(target)
    assert read is not None and describe(read[name]) == text


@pytest.mark.parametrize("target", ["nothing.at_all", "src.nothing", "src.models.flow.Nothing", "json.dumps", "", "...", "a b.c"])
def test_what_cannot_be_read_is_not_judged(target: str) -> None:
    assert parameters(target) is None
