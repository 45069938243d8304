"""The README keeps its word: commands run (shortened), Python runs, links and pictures are there, nothing is left to fill in.

A bash block runs in an empty folder, in this process: imports take longer than all that is shortened. A block that needs what a
test has not got says so in a comment on the line before it, ``<!-- needs: data, GPUs -->``: its commands are composed, every
``_target_`` in them must take the arguments that it is given, and what needs no data is built, on the meta device.
"""

import copy
import importlib
import inspect
import itertools
import json
import logging
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import av
import cv2
import pytest
import torch
from hydra import compose, initialize_config_dir, version
from hydra.core.singleton import Singleton
from hydra.errors import HydraException
from hydra.utils import get_object, instantiate
from omegaconf import OmegaConf

from src import FrameResult, VideoResult, load_checkpoint
from src.command_line.arguments import quote_paths
from src.inference.video.writer import VideoWriter
from tests.inference.tiny import frames

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")

FENCED = re.compile(r"(?:^<!-- needs: (?P<needs>.+?) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
PROSE = FENCED.sub("", README)
SCENES = ["data.scenes.num_clips=1", "data.scenes.num_frames=18", "data.scenes.size=[64,96]"]
SHORTER = {
    "src.train": [
        "debug=fast", "logger=csv", "trainer.accelerator=cpu", "callbacks.pictures.num_samples=1",
        "mask_loss.num_points=64", *SCENES,
    ],
    "src.eval": ["device=cpu", *SCENES],
    "src.predict": ["device=cpu"],
    "src.demo": ["device=cpu"],
    "src.convert": [],
    "src.export": [],
    "src.push": [],
    "src.benchmark": ["device=cpu", "what=cost", "experiment=vspw_r50"],
}  # fmt: skip


class Block(NamedTuple):
    language: str
    text: str
    needs: str | None

    def commands(self) -> list[list[str]]:
        lines = self.text.replace("\\\n", " ").splitlines()
        return [words for line in lines if (words := shlex.split(line, comments=True))]


BLOCKS = [Block(found["language"], found["text"], found["needs"]) for found in FENCED.finditer(README)]
BASH = [block for block in BLOCKS if block.language == "bash"]
# What is quoted in the text, but for patterns such as `python -m src.train ...` or `experiment=<name>`.
INLINE = [shlex.split(found) for found in re.findall(r"`((?:python|make) [^`]+)`", PROSE) if not re.search(r"<|\.\.\.", found)]


def module_and_overrides(command: Sequence[str]) -> tuple[str, list[str]]:
    assert command[:2] == ["python", "-m"] and command[2] in SHORTER, f"no test knows how to run: {shlex.join(command)}"
    return command[2], quote_paths(command[3:])


def run(command: Sequence[str], *changes: str) -> None:
    """What the shell would run, shortened."""
    if command[0] == "make":
        check_make_target(*command[1:])
        return
    module, overrides = module_and_overrides(command)
    shorter = [change for change in (*SHORTER[module], *changes) if change not in overrides]
    sys.argv[1:] = [*overrides, *([] if "--help" in overrides else shorter)]
    importlib.import_module(module).main()


def check_make_target(*arguments: str) -> str:
    done = subprocess.run(["make", "-n", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def check_tidy(workplace: Path) -> None:
    """Runs write below paths.runs and paths.data and nowhere else, or they would litter the repository."""
    assert {path.name for path in workplace.iterdir()} <= {"outputs", "data", "drive.mp4"}


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a video of the user to run commands in; what Hydra changes in the process is changed back."""
    monkeypatch.chdir(tmp_path)
    with VideoWriter(tmp_path / "drive.mp4", 15) as writer:
        for image in frames(7):
            writer.write(image)
    monkeypatch.setattr(sys, "argv", ["command"])
    # Hydra then looks for conf/ beside the source file, as it does for `python -m`, and lets errors through.
    monkeypatch.setenv("HYDRA_MAIN_MODULE", "__main__")
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    hydra_state, root = copy.deepcopy(Singleton.get_state()), logging.getLogger()
    version.setbase("1.3")
    handlers, level = root.handlers[:], root.level
    yield tmp_path
    for handler in set(root.handlers) - set(handlers):
        root.removeHandler(handler)
        handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    Singleton.set_state(hydra_state)


def test_nothing_is_left_to_fill_in() -> None:
    assert not re.findall(r"@@\w*@*|TODO|TBD|XXX", README)


def test_links_and_pictures_are_there() -> None:
    found = re.findall(r"(!?)\[[^\]]*\]\(([^)\s]+)\)", PROSE)
    assert any(mark for mark, _ in found), "the README shows a picture"
    for mark, target in found:
        if re.match(r"https?://|#", target):
            continue
        path = ROOT / target.split("#")[0]
        assert path.exists(), f"README.md links to {target}, which does not exist"
        assert not mark or path.suffix == ".svg" or cv2.imread(str(path)) is not None, f"{target} is not a picture"


def test_the_files_that_it_names_are_there() -> None:
    quoted = re.findall(r"`((?:src|conf|tests|scripts|docs|notebooks)/[\w./-]*)`", PROSE)
    quoted += [".".join(name.split(".")).replace(".", "/") for name in re.findall(r"`(src(?:\.\w+)+)`", PROSE)]
    mapped = [line for block in BLOCKS if not block.language for line in block.text.splitlines() if line.startswith("src/")]
    assert mapped, "the README has a map of the code"
    # A line of the map lists names relative to src/, then, two spaces on, what they are.
    quoted += [f"src/{name.removeprefix('src/')}" for line in mapped for name in re.split(r"  ", line)[0].split()]
    missing = [name for name in quoted if not any((ROOT / option).exists() for option in (name, f"{name}.py"))]
    assert not missing


@pytest.mark.slow
@pytest.mark.parametrize("block", [block for block in BASH if not block.needs], ids=lambda block: block.commands()[0][-1])
def test_the_commands_of_a_block_run_one_after_another(block: Block, workplace: Path) -> None:
    for command in block.commands():
        run(command, *(["key_intervals=[2]", "max_clips=1"] if "src.eval" in command else []))
    check_tidy(workplace)


@pytest.mark.slow
@pytest.mark.parametrize("command", INLINE, ids=shlex.join)
def test_commands_in_the_text_run(command: list[str], workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if "--help" not in command:
        run(command)
        check_tidy(workplace)
        return
    with pytest.raises(SystemExit) as end:
        run(command)
    assert not end.value.code
    assert "stage: flow, propagation, segmentor" in capsys.readouterr().out


FRAGMENTS = re.findall(r"`((?:[\w./]+=[^\s`<|.][^\s`<|]*)(?: [\w./]+=[^\s`<|]+)*)`", PROSE)


@pytest.mark.parametrize("fragment", FRAGMENTS)
def test_overrides_in_the_text_compose(fragment: str) -> None:
    """With one of the entry points at least."""
    refusals = []
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        for module in SHORTER:
            try:
                compose(module.removeprefix("src."), fragment.split())
            except HydraException as error:
                refusals.append(error)
    assert len(refusals) < len(SHORTER), refusals


def test_choices_in_the_text_are_there() -> None:
    choices = re.findall(r"`([\w/]+)=(\w+(?:\|\w+)+)`", PROSE)
    files = [ROOT / "conf" / group / f"{name}.yaml" for group, names in choices for name in names.split("|")]
    assert files and not [path for path in files if path.parent.is_dir() and not path.exists()]


MARKED = [command for block in BASH if block.needs for command in block.commands()]


@pytest.mark.parametrize("command", MARKED, ids=lambda command: shlex.join(command[2:]))
def test_commands_that_need_more_than_a_test_has_can_be_built(command: list[str]) -> None:
    module, overrides = module_and_overrides(command)
    name = module.removeprefix("src.")
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose(name, [*(one for one in overrides if one != "-m"), *(["run_dir=run"] if name == "train" else [])])
    # Read from own data: the classes, and the size of the frames.
    for key, value in (("num_classes", 3), ("crop_size", [32, 32])):
        if key in (cfg.get("data") or {}) and cfg.data[key] is None:
            cfg.data[key] = value
    OmegaConf.resolve(cfg)
    # Prediction files are scored without a model.
    complete = not any(override.startswith("predictions=") for override in overrides)
    nodes = list(targets(OmegaConf.to_container(cfg, throw_on_missing=complete)))
    assert nodes or name in ("convert", "export")
    for node in nodes:
        arguments = {key: value for key, value in node.items() if not key.startswith("_")}
        inspect.signature(get_object(node["_target_"])).bind(**arguments)
    if name == "train":
        # The weights are what would have to be fetched.
        weightless = {"pretrained_backbone": False} if "pretrained_backbone" in (cfg.stage.segmentor or {}) else {}
        with torch.device("meta"):
            for part, changes in (("segmentor", weightless), ("flow", {})):
                if not any(key.startswith("path") for key in cfg.stage[part] or ["path"]):
                    instantiate(cfg.stage[part], **changes)
        for part in (cfg.stage.objective, cfg.stage.optim, cfg.stage.sampling, cfg.stage.motion, cfg.data.train_transform):
            instantiate(part)


def targets(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if "_target_" in node:
            yield node
        yield from itertools.chain.from_iterable(targets(value) for value in node.values())
    elif isinstance(node, list):
        yield from itertools.chain.from_iterable(targets(value) for value in node)


def test_the_published_recipe_has_the_published_size() -> None:
    """90,000 steps of 16 pairs, on however many devices a command asks for."""
    published = [command for command in MARKED if re.search(r"experiment=(vspw|cityscapes)", shlex.join(command))]
    assert published
    for command in published:
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            cfg = compose("train", module_and_overrides(command)[1])
        assert cfg.trainer.max_steps == 90_000
        assert cfg.global_batch_size == 16 and cfg.trainer.accumulate_grad_batches == 1
        # Named devices must come out even; of others a run says so at its start.
        assert cfg.trainer.devices == "auto" or 16 % (cfg.trainer.devices * cfg.batch_size) == 0


@pytest.mark.slow
def test_quickstart_gives_table_video_pictures_and_model(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "scripts/quickstart.sh" in check_make_target("quickstart")
    # The script runs as it is, but its `python` is a messenger that has this process do the work.
    messenger = workplace / "bin" / "python"
    messenger.parent.mkdir()
    messenger.write_text(
        "#!/usr/bin/env bash\n{ printf 'RUN python'; printf ' %q' \"$@\"; echo; } && read -r status && exit $status\n"
    )
    messenger.chmod(0o755)
    (workplace / "scripts").mkdir()
    script = shutil.copy(ROOT / "scripts" / "quickstart.sh", workplace / "scripts")
    environment = {"PATH": f"{messenger.parent}:/usr/bin:/bin"}
    process = subprocess.Popen(
        ["bash", script], cwd=workplace, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    with process:
        assert process.stdin is not None and process.stdout is not None
        for line in process.stdout:
            if line.startswith("RUN "):
                run(shlex.split(line)[1:])
                process.stdin.write("0\n")
    assert process.returncode == 0

    results = workplace / "outputs" / "quickstart"
    rows = json.loads((results / "table.json").read_text())
    assert [row["method"] for row in rows] == ["per_frame", "copy", "dis", "pixel", "query"]
    assert [row["key_interval"] for row in rows] == [1, 5, 5, 5, 5]
    for row in rows:
        assert all(0 <= row[score] <= 1 for score in ("miou", "wiou", "vc8", "vc16")), row
        assert row["gflops"] > 0 and row["ms"] > 0
    with av.open(str(results / "overlay.mp4")) as video:
        assert video.streams.video[0].codec_context.name == "h264"
        assert sum(1 for _ in video.decode(video=0)) == 18
    assert list((results / "pictures").glob("*.png"))
    assert {"config.json", "model.safetensors"} <= {path.name for path in (results / "model").iterdir()}
    propagator, metadata = load_checkpoint("outputs/quickstart/model")
    assert len(metadata["classes"]) == propagator.segmentor.num_classes == 8


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "python"], ids=lambda block: "python")
def test_the_python_runs(block: Block, workplace: Path) -> None:
    assert "drive.mp4" in block.text
    names: dict[str, Any] = {}
    exec(block.text, names)
    frame: FrameResult = names["frame"]
    assert frame.index == 6 and frame.semantic_map.shape == (40, 56) and frame.semantic_map.dtype == torch.int64
    with av.open(str(workplace / "overlay.mp4")) as video:
        assert sum(1 for _ in video.decode(video=0)) == 7
    named = re.findall(r" \.(\w+)", block.text)
    assert len(named) == 7 and all(hasattr(FrameResult, name) or hasattr(VideoResult, name) for name in named)
