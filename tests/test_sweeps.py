"""The ablations of conf/sweep: every value composes, and each switch has its documented effect in training."""

from __future__ import annotations

import csv
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from torch import Tensor

from scripts import sweep_table
from src.commands.eval import evaluate
from src.commands.train import train
from src.models.flow import CopyFlow, DISFlow, PixelFlow, QueryFlow
from src.models.propagator import Propagator
from src.weights.model_folder import load_model
from tests.tiny_run import ROOT, compose_train, overrides

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers"),
    pytest.mark.filterwarnings("ignore:Found .* module.* in eval mode"),
]
OF_EVALUATIONS = ("key_interval", "mode")
SWEEPS = sorted(
    path.stem for path in (ROOT / "conf" / "sweep").glob("*.yaml") if path.stem not in ("fresh_flow", "stages", *OF_EVALUATIONS)
)
# One job serves all sweeps for these values.
DEFAULTS = {
    "flow_choice=query", "model.flow.decoder_layers=1", "mask_loss.deep_supervision=True", "model.flow.fuse_init=pixel",
    "stage.objective.trainable=[flow,segmentor.mask_head,segmentor.class_head]", "model.warp_grid=exact",
}  # fmt: skip
TWO_STEPS = ["trainer.max_steps=2", "trainer.val_check_interval=2", "trainer.log_every_n_steps=1", "data.val_samples=1"]


def grid(sweep: str) -> list[str]:
    """Return the overrides of each job of the sweep, by Hydra's parser."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose("train", [f"+sweep={sweep}"], return_hydra_config=True)
    ((key, values),) = cfg.hydra.sweeper.params.items()
    return [f"{key}={value}" for value in OverridesParser.create().parse_override(f"{key}={values}").sweep_string_iterator()]


class Job(NamedTuple):
    """Result of a job: the propagator, and the loss of its first step."""

    model: Propagator
    loss: float


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the scenes and the segmentor that every job starts from."""
    folder = tmp_path_factory.mktemp("sweeps")
    train(compose_train(*overrides(folder / "scenes", folder / "runs"), "stage=segmentor", *TWO_STEPS))
    return folder


@pytest.fixture(scope="module")
def job(folder: Path) -> Callable[[str, str], Job]:
    """Train a job of a sweep for two steps, each job once."""

    def run(sweep: str, override: str) -> Job:
        return trained("fresh_flow", "seed=0") if override in DEFAULTS else trained(sweep, override)

    @cache
    def trained(sweep: str, override: str) -> Job:
        run_dir = folder / f"{sweep} {override}"
        train(
            compose_train(
                *overrides(folder / "scenes", folder / "runs"), *TWO_STEPS, f"+sweep={sweep}", override, f"run_dir='{run_dir}'"
            )
        )
        (log,) = run_dir.glob("csv/*/metrics.csv")
        losses = [float(row["train/loss"]) for row in csv.DictReader(log.open()) if row["train/loss"]]
        assert len(losses) == 2
        return Job(load_model(run_dir / "model")[0], losses[0])

    return run


def moved_parts(folder: Path, model: Propagator) -> set[str]:
    """Return the names of the segmentor's parts that training changed."""
    start = load_model(folder / "runs" / "default" / "segmentor" / "model")[0].segmentor
    # The heads come last, and lie in the decoder too.
    owner = {id(parameter): name for name, part in model.segmentor.parts().items() for parameter in part.parameters()}
    pairs = zip(start.parameters(), model.segmentor.parameters(), strict=True)
    return {owner[id(after)] for before, after in pairs if not torch.equal(before, after)}


@torch.no_grad()
def flows(model: Propagator, queries: Tensor) -> tuple[Tensor, Tensor]:
    """Return (segment flow, finest pixel flow) of a textured pair for given queries."""
    generator = torch.Generator().manual_seed(1)
    key, nonkey = (255 * torch.rand(1, 3, 64, 96, generator=generator) for _ in range(2))
    prediction = model.flow(key, nonkey, queries)
    return prediction.segment_flow, prediction.pixel_flows[-1]


def two_queries(model: Propagator) -> tuple[Tensor, Tensor]:
    flow = model.flow
    assert isinstance(flow, QueryFlow)
    return torch.randn(1, flow.num_queries, flow.query_dim), torch.randn(1, flow.num_queries, flow.query_dim)


@pytest.mark.parametrize("experiment", ["quickstart", "vspw_swinl"])
@pytest.mark.parametrize("sweep", SWEEPS)
def test_jobs_of_a_sweep_differ_and_start_from_the_segmentor(sweep: str, experiment: str) -> None:
    """Independent of the recipe of the experiment."""
    values = grid(sweep)
    seen = []
    # Composing takes its time, and what the ends have in common the middle has.
    for override in (values[0], values[-1]) if len(values) > 5 else values:
        cfg = compose_train(f"experiment={experiment}", f"+sweep={sweep}", override)
        assert cfg.stage.init_from == f"outputs/{experiment}/segmentor/model" and cfg.stage.segmentor is None
        read = OmegaConf.create({"flow": cfg.stage.flow, "objective": cfg.stage.objective, "warp_grid": cfg.model.warp_grid})
        read._set_parent(cfg)
        seen.append(OmegaConf.to_yaml(read, resolve=True))
    assert len(set(seen)) == len(seen) > 1


def test_flow_sweep_contains_every_flow(job: Callable[[str, str], Job], folder: Path) -> None:
    kinds = {}
    for override in grid("flow"):
        model = job("flow", override).model
        kinds[override.partition("=")[2]] = type(model.flow)
        assert moved_parts(folder, model) == {"mask_head", "class_head"}
        if isinstance(model.flow, PixelFlow):
            widths = {"encoder_channels": [8, 8, 16, 16, 16, 16], "refine_channels": [8, 8, 8, 8]}
            assert widths.items() <= model.flow.config().items(), "the query flow's widths"
    assert kinds == {"copy": CopyFlow, "dis": DISFlow, "pixel": PixelFlow, "query": QueryFlow, "random_queries": QueryFlow}


def test_random_queries_do_not_depend_on_the_key_frame(job: Callable[[str, str], Job]) -> None:
    own, segmentors = job("flow", "flow_choice=random_queries").model, job("flow", "flow_choice=query").model
    one, other = two_queries(own)
    assert torch.equal(flows(own, one)[0], flows(own, other)[0])
    assert not torch.equal(flows(segmentors, one)[0], flows(segmentors, other)[0])
    # Still one flow per query, and not one for all.
    assert flows(own, one)[0].std(dim=1).max() > 0
    assert grid("random_queries") == ["model.flow.queries=segmentor", "model.flow.queries=random"]


def test_without_decoder_layers_queries_do_not_attend_to_the_pixel_flow(job: Callable[[str, str], Job]) -> None:
    assert grid("decoder_layers") == [f"model.flow.decoder_layers={n}" for n in range(10)]
    for layers in (0, 1):
        model = job("decoder_layers", f"model.flow.decoder_layers={layers}").model
        assert isinstance(model.flow, QueryFlow) and len(model.flow.query_decoder.layers) == layers
        one, other = two_queries(model)
        assert torch.equal(flows(model, one)[1], flows(model, other)[1]) == (layers == 0)
        assert not torch.equal(flows(model, one)[0], flows(model, other)[0])


def test_deep_supervision_adds_the_losses_of_the_other_layers(job: Callable[[str, str], Job]) -> None:
    assert grid("deep_supervision") == ["mask_loss.deep_supervision=True", "mask_loss.deep_supervision=False"]
    deep, last = (job("deep_supervision", override) for override in grid("deep_supervision"))
    # Two predictions or more, all of nearly untrained networks, so their losses are alike.
    assert deep.loss > 1.7 * last.loss


@pytest.mark.parametrize("number, moved", [(0, ""), (1, "mask_head class_head"), (2, "transformer_decoder mask_head class_head"),
                                           (3, "backbone pixel_decoder transformer_decoder mask_head class_head")])  # fmt: skip
def test_exactly_the_configured_parts_train(job: Callable[[str, str], Job], folder: Path, number: int, moved: str) -> None:
    """The first job freezes the segmentor, the last fine-tunes it."""
    assert moved_parts(folder, job("trainable", grid("trainable")[number]).model) == set(moved.split())


def test_fusion_starts_at_the_configured_flow(job: Callable[[str, str], Job]) -> None:
    pixel, reference = (job("fuse_init", override).model for override in grid("fuse_init"))
    for model, expected in ((pixel, 0.0), (reference, 1.0)):
        flow = flows(model, two_queries(model)[0])[0]
        # Two steps of at most the learning rate each.
        assert flow.median() == pytest.approx(expected, abs=0.2)


@torch.no_grad()
def test_only_the_exact_grid_has_zero_flow_as_identity(job: Callable[[str, str], Job]) -> None:
    image = 255 * torch.rand(1, 3, 64, 96)
    for override, still in zip(grid("warp_grid"), (True, False), strict=True):
        model = job("warp_grid", override).model
        copied = Propagator(model.segmentor, CopyFlow(), model.warp_grid).eval()
        key = copied.segmentor(image)
        assert torch.equal(copied.propagate(key, image, image)[0].mask_logits, key.mask_logits) == still


def evaluated(folder: Path, table: Path, *arguments: str) -> list[dict[str, Any]]:
    scenes = [
        "data.scenes.num_clips=1",
        "data.scenes.num_frames=8",
        "data.scenes.size=[64,96]",
        f"paths.data={folder / 'scenes'}",
    ]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        model = folder / "runs" / "default" / "segmentor" / "model"
        cfg = compose(
            "eval",
            [
                f"checkpoint={model}",
                f"output={table}",
                "key_frame_offsets=first",
                *scenes,
                *arguments,
            ],
        )
    return evaluate(cfg)


def test_one_evaluation_covers_all_key_intervals(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = folder / "intervals.json"
    rows = evaluated(folder, table, "+sweep=key_interval", "methods=[copy]")
    assert [row["key_interval"] for row in rows] == list(range(1, 11))
    assert sweep_table.main([str(table)]) == 0
    assert re.search(r"^\| +10 +\|", capsys.readouterr().out, re.MULTILINE) and table.with_name("intervals_sweep.png").exists()


def test_one_evaluation_covers_all_modes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = folder / "modes.json"
    rows = evaluated(folder, table, "+sweep=mode", "methods=[per_frame,copy]", "key_intervals=[3]", "disoccluded=true")
    # Online without fused key frames no rule has an effect.
    assert len(rows) == 1 + 1 + 4 + 2 * 4 and rows[0]["method"] == "per_frame"
    assert len({(row["mode"], row["fusion"], row["fuse_keys"]) for row in rows[1:]}) == 13
    plain, offline = rows[1], next(row for row in rows if row["mode"] == "offline" and row["fusion"] == "linear")
    assert offline["gflops"] > plain["gflops"] and list(offline["miou_by_position"]) == ["0", "1", "2"]
    assert all(row["miou_border"] is not None and (row["miou_disoccluded"] is None) == (row is rows[0]) for row in rows)
    assert sweep_table.main([str(table)]) == 0
    assert re.search(r"^\| copy +\| +offline +\| +linear +\| +True", capsys.readouterr().out, re.MULTILINE)


def test_ablations_page_lists_every_sweep_and_its_commands_compose() -> None:
    page = (ROOT / "docs" / "ablations.md").read_text(encoding="utf-8")
    commands = re.findall(r"`(python [^`]+)`", re.sub(r"```.*?```", "", page, flags=re.DOTALL))
    commands += [
        line
        for block in re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
        for line in block.splitlines()
        if line.startswith("python")
    ]
    named = set()
    for command in map(shlex.split, commands):
        if command[1] != "-m":
            assert sweep_table._options(command[2:]).source
            continue
        parser = OverridesParser.create()
        # Of a grid on the command line, the first job.
        parsed = [parser.parse_override(word) for word in command[3:] if word != "-m"]
        words = [
            next(one.sweep_string_iterator()) if one.is_sweep_override() else one.get_value_element_as_str() for one in parsed
        ]
        keys = [one.input_line.partition("=")[0] for one in parsed]
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            cfg = compose(command[2].removeprefix("src."), [f"{key}={word}" for key, word in zip(keys, words, strict=True)])
        assert OmegaConf.to_container(cfg, resolve=command[2] == "src.train")
        named |= {word for key, word in zip(keys, words, strict=True) if key == "+sweep"}
    assert named == {*SWEEPS, "fresh_flow", *OF_EVALUATIONS}


@pytest.mark.slow
def test_a_multirun_becomes_a_table(folder: Path) -> None:
    """Hydra parses the grid and creates the job folders; the final table reads them."""
    arguments = [
        *overrides(folder / "scenes", folder / "runs"),
        *TWO_STEPS,
        "+sweep=warp_grid",
        "hydra.sweep.dir=" + str(folder / "jobs"),
    ]
    command = [sys.executable, "-m", "src.train", "-m", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=300, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 0, done.stderr
    lines = (folder / "jobs" / "sweep.md").read_text().splitlines()
    header, _, exact, reference = (re.sub(" +", " ", line) for line in lines)
    assert header.startswith("| model.warp_grid | runs | val/miou, % |")
    assert exact.startswith("| exact | 1 |") and reference.startswith("| reference | 1 |")
