"""What each command refuses, in one line, and what it takes."""

from __future__ import annotations

import pytest
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from src.command_line.arguments import check_choices, quote_paths
from src.command_line.composition import check_options, check_sweep, composed, explain
from tests.options.test_models import choices

GIVEN = {
    "predict": ["input=a.mp4", "checkpoint=b", "output=c"],
    "eval": ["checkpoint=b", "output=c.json"],
    "demo": ["checkpoint=b"],
    "convert": ["input=a.pth", "output=b"],
    "export": ["checkpoint=a", "output=b", "imgsz=[40,56]"],
    "check_data": ["data=vspw"],
}
SWITCH = "expected true | false"
REFUSED = [
    # Booleans are true and false only.
    ("predict", "runtime=tensorrt", "runtime is 'tensorrt'; expected auto | eager | graph | onnx | openvino"),
    ("export", "imgsz=480", "imgsz is 480; expected [integer 1..16384, integer 1..16384]"),
    ("predict", "overwrite=no", f"overwrite is 'no'; {SWITCH}"),
    ("predict", "overwrite=yes", SWITCH),
    ("predict", "overwrite=1", f"overwrite is 1; {SWITCH}"),
    ("predict", 'overwrite="true"', SWITCH),
    ("predict", "overwrite=null", f"overwrite is null; {SWITCH}"),
    ("predict", "overwrite=[true]", SWITCH),
    ("predict", "labels=png", f"labels is 'png'; {SWITCH}"),
    ("eval", "overwrite=no", SWITCH),
    ("eval", "temporal_consistency=0", SWITCH),
    ("train", "overwrite=no", SWITCH),
    ("train", "upload_model=on", SWITCH),
    ("train", "resume=no", "resume is 'no'; expected true | false | force"),
    ("train", "resume=fource", "did you mean force?"),
    ("train", "mask_loss.deep_supervision=no", SWITCH),
    ("train", "callbacks.stop_on_signal.requeue=no", SWITCH),
    ("train", "+trainer.enable_progress_bar=off", "true | false"),
    ("train", "model.segmentor.pretrained_backbone=2.5", "expected true | false | text"),
    ("check_data", "overwrite=no", SWITCH),
    ("convert", "overwrite=no", SWITCH),
    ("demo", "open_browser=yes", SWITCH),
    ("benchmark", "overwrite=no", SWITCH),
    ("benchmark", "loader.filtered_labels=no", SWITCH),
    # Numbers have ranges.
    ("predict", "max_frames=0", "max_frames is 0; expected integer >= 1 | null"),
    ("predict", "max_frames=-3", "expected integer >= 1"),
    ("predict", "max_frames=2.5", "expected integer >= 1"),
    ("predict", "max_frames=true", "max_frames is true"),
    ("predict", "threads=10000", "threads is 10000; expected integer 1.."),
    ("predict", "threads=0", "expected integer 1.."),
    ("predict", "alpha=1.5", "alpha is 1.5; expected number 0..1"),
    ("predict", "alpha=nan", "alpha is nan"),
    ("predict", "alpha=-inf", "alpha is -inf"),
    ("predict", "legend=true", "legend is true; expected side | bottom | off"),
    ("predict", "palette=cityscapes", "palette is 'cityscapes'; expected names | dataset"),
    ("predict", "flow_scale=0", "flow_scale is 0; expected number > 0 | null"),
    ("predict", "quality=52", "quality is 52; expected integer 0..51"),
    ("predict", "fps=0", "fps is 0; expected number > 0 and <= 1000"),
    ("predict", "fps=inf", "fps is inf"),
    ("predict", "key_interval=0", "key_interval is 0; expected integer >= 1"),
    ("predict", "scheduler.key_interval=0", "scheduler.key_interval is 0"),
    ("predict", "short_side=0", "short_side is 0"),
    ("predict", "short_side=1000000", "short_side is 1000000"),
    ("demo", "port=0", "port is 0; expected integer 1..65535 | null"),
    ("demo", "port=70000", "port is 70000"),
    ("demo", "max_upload=500", "max_upload is 500; expected <number>kb"),
    ("eval", "key_intervals=[]", "key_intervals is []; expected non-empty list of integer >= 1"),
    ("eval", "key_intervals=[0]", "key_intervals is [0]"),
    ("eval", "key_intervals=5", "key_intervals is 5"),
    ("eval", "cost_size=[480]", "cost_size is [480]; expected [integer 1..16384, integer 1..16384]"),
    ("eval", "interval_shifts=0", "interval_shifts is 0"),
    ("train", "batch_size=0", "batch_size is 0"),
    ("train", "batch_size=2.0", "batch_size is 2.0"),
    ("train", "seed=-1", "seed is -1; expected integer 0..4294967295"),
    ("train", "trainer.max_steps=0", "trainer.max_steps is 0"),
    ("train", "trainer.max_steps=many", "trainer.max_steps is 'many'"),
    ("train", "stage.optim.lr=0", "stage.optim.lr is 0; expected number > 0"),
    ("train", "stage.optim.lr=fast", "stage.optim.lr is 'fast'"),
    ("train", "data.scenes.size=[0,64]", "data.scenes.size is [0, 64]"),
    ("train", "model.flow.encoder_channels=[a]", "model.flow.encoder_channels is ['a']; expected list of integer"),
    ("train", "model.segmentor.num_queries=many", "model.segmentor.num_queries is 'many'; expected integer"),
    ("check_data", "workers=-1", "workers is -1"),
    ("benchmark", "repeats=0", "repeats is 0"),
    ("benchmark", "speed.key_intervals=[0]", "speed.key_intervals is [0]"),
    # Choices are listed, with the most similar one.
    ("predict", "autocast=bfloat", "expected bfloat16 | float16 | null; did you mean bfloat16?"),
    ("predict", "flow=pixle", "did you mean pixel?"),
    ("predict", "device=gpu", "device is 'gpu'; expected auto | cpu | mps | cuda | cuda:<number>"),
    ("predict", "clip_split=tests", "did you mean test?"),
    ("predict", "map_size=masks", "did you mean mask?"),
    ("predict", "compile=backbones", "did you mean backbone?"),
    ("eval", "methods=[per_fram,copy]", "did you mean per_frame?"),
    ("eval", "schedulers=[]", "expected non-empty list of fixed | adaptive | budget"),
    ("eval", "what=mask", "did you mean masks?"),
    ("convert", "to=official_", "did you mean official?"),
    ("check_data", "splits=[train,valid]", "expected non-empty list of train | val | test"),
    ("train", "data.on_corrupt=skipp", "did you mean skip?"),
    ("train", "model.flow.fuse_init=pixl", "did you mean pixel?"),
    ("train", "trainer.precision=bf16", "expected 32-true | bf16-mixed | 16-mixed"),
    ("benchmark", "loader.source=data", "expected generated | dataset"),
    ("benchmark", "what=costs", "did you mean cost?"),
    # Paths are texts.
    ("predict", "checkpoint=null", "checkpoint is null; expected a path"),
    ("predict", "input=null", "input is null; expected a path"),
    ("predict", "input=", "input is ''; expected a path"),
    ("predict", "output=   ", "output is '   '; expected a path"),
    ("predict", "data=camvid data.root=null", "data.root is null; expected a path"),
    ("train", "run_dir=null", "run_dir is null; expected a path"),
    ("check_data", "output=null", "output is null"),
    ("eval", "checkpoint=null", "checkpoint: not given"),
    # Unknown keys, with the most similar one.
    ("predict", "overwritte=true", "overwritte is no option; did you mean overwrite?"),
    ("predict", "scheduler.key_intervall=3", "did you mean scheduler.key_interval?"),
    ("predict", "+overwrit=true", "overwrit is no option; did you mean overwrite?"),
    ("predict", "++overwrit=true", "overwrit is no option; did you mean overwrite?"),
    ("predict", "+schedular=fixed", "schedular is no option; did you mean scheduler?"),
    ("predict", "~nothing", "nothing is no option"),
    ("predict", "~overwrite", "overwrite: not given"),
    ("predict", "scheduler=fixxed", "scheduler=fixxed: no such choice; expected adaptive | budget | fixed; did you mean fixed?"),
    ("predict", "schedulerr=fixed", "schedulerr is no option; did you mean scheduler?"),
    ("predict", "+overwrite=true", "An item is already at 'overwrite'. Leave out the +"),
    ("predict", "overwrite", "overwrite cannot be read; expected <option>=<value>"),
    ("predict", "alpha=0.1,0.2", "expected one value"),
    ("predict", "alpha=${nothing}", "Interpolation key 'nothing' not found"),
    ("predict", "+scheduler.key_intervall=3", "FixedInterval; did you mean key_interval?"),
    ("train", "+trainer.max_step=3", "lightning.Trainer; did you mean max_steps?"),
    ("train", "+stage.optm.lr=3", "stage.optm is no option; did you mean stage.optim?"),
    ("train", "+data.test.splitt=val", "MovingScenes; did you mean split?"),
    ("train", "data=camvid +data.min_clip_length=3", "data.min_clip_length is no option"),
    ("train", "+callbacks.mine=1", "callbacks.mine is no option"),
    ("train", "model/flo=pixel", "model/flo is no option; did you mean model/flow?"),
    # Groups are chosen by name.
    ("predict", "scheduler=[1]", "scheduler=[1]: no such choice; expected scheduler=<adaptive | budget | fixed>"),
    ("predict", "scheduler=[[fixed]]", "no such choice"),
    ("predict", "scheduler={}", "scheduler={}: no such choice"),
    ("predict", "scheduler={key_interval:3}", "no such choice"),
    ("predict", "scheduler=null", "scheduler=null: no such choice"),
    ("train", "model/flow=3.5", "expected model/flow=<copy | correlation"),
    ("eval", "data={}", "data={}: no such choice"),
    # Targets exist, and stay mappings.
    ("predict", "scheduler._target_=zzz", "scheduler._target_ is 'zzz'; expected the dotted name"),
    ("predict", "scheduler._target_=src.inference.scheduling.adaptive.Adaptiv", "scheduler._target_ is 'src."),
    ("predict", "scheduler._target_=[1]", "scheduler._target_ is [1]"),
    ("predict", "scheduler._target_=", "scheduler._target_ is ''"),
    ("predict", "scheduler._target_=null", "scheduler._target_ is null"),
    ("predict", "+scheduler._partial_=yes", f"scheduler._partial_ is 'yes'; {SWITCH}"),
    ("predict", "+scheduler._convert_=foo", "expected none | partial | object | all"),
    ("eval", "data.test=no", "data.test is 'no'; expected mapping | null"),
    ("train", "data.train_transform=3", "data.train_transform is 3; expected mapping | null"),
    ("eval", "known_flows.copy=no", "known_flows.copy is 'no'; expected mapping | null"),
    ("demo", "schedules.fixed=no", "schedules.fixed is 'no'"),
    ("demo", "schedules.fixed.make._target_=zzz", "schedules.fixed.make._target_ is 'zzz'"),
    ("predict", "+hydra.runn.dir=a", "hydra.runn.dir is no option; did you mean run?"),
    ("train", "experiment=quickstrt", "did you mean quickstart?"),
]


def refusal(name: str, *overrides: str) -> str:
    """The message of the command, empty if it takes the overrides."""
    overrides = tuple(quote_paths(overrides))
    typed = {one.partition("=")[0] for one in overrides}
    given = [one for one in GIVEN.get(name, []) if one.partition("=")[0] not in typed]
    try:
        check_options(name, composed(name, [*given, *overrides]), [*given, *overrides])
    except (HydraException, OmegaConfBaseException) as error:
        return explain(name, error, [*given, *overrides])
    except ValueError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name, overrides, message", REFUSED)
def test_a_wrong_option_is_one_line_that_names_it(name: str, overrides: str, message: str) -> None:
    found = refusal(name, *([overrides] if "  " in overrides else overrides.split(" ")))
    assert message in found and "\n" not in found, found


@pytest.mark.parametrize(
    "name, overrides",
    [
        ("predict", ["overwrite=true", "max_frames=null", "compile=backbone", "short_side=480", "device=cuda:3", "fps=23.976"]),
        ("predict", ["input=0"]),
        ("predict", ["data=camvid", "~data.test", "+data.test={_target_: tests.inference.tiny.FakeClips, lengths: [4, 3]}"]),
        ("predict", ["scheduler=budget", "scheduler.gflops=3"]),
        ("train", ["resume=force"]),
        ("train", ["+trainer.limit_val_batches=2", "trainer.devices=[0,1]", "callbacks.overlay=null"]),
        ("train", ["+callbacks.mine={_target_: lightning.pytorch.callbacks.RichProgressBar}"]),
        ("train", ["model/flow=pretrained", "model.flow.path=a", "+model/flow@model.flow.into=query"]),
        ("train", ["data=folder", "data.num_classes=7", "+sweep=flow", "flow_choice=pixel"]),
        ("eval", ["what=label_propagation", "~data.test", "+data.test={_target_: tests.inference.tiny.FakeClips, lengths: [9]}"]),
        ("demo", ["~data", "max_upload=1gb", "port=null"]),
        ("convert", ["data=vspw", "to=official"]),
        ("benchmark", ["what=paper", "output=null", "speed.measure=[parts]"]),
    ],
)
def test_right_options_pass(name: str, overrides: list[str]) -> None:
    assert not refusal(name, *overrides)


def test_all_wrong_options_are_named_at_once() -> None:
    found = refusal("predict", "legend=on", "alpha=2")
    assert "legend is 'on'" in found and "; and " in found and "alpha is 2" in found


def test_a_wrong_value_is_named_where_it_is_typed_and_not_where_others_refer_to_it() -> None:
    assert refusal("train", "key_interval=0") == "key_interval is 0; expected integer >= 1"


@pytest.mark.parametrize("overrides", [["seed=0,1", "+overwrit=true"], ["+seeed=0,1"]])
def test_a_multirun_ends_before_its_first_job(overrides: list[str]) -> None:
    with pytest.raises(ValueError, match="is no option; did you mean"):
        check_sweep("train", overrides)


@pytest.mark.parametrize("stage", choices("stage"))
@pytest.mark.parametrize("experiment", choices("experiment"))
def test_a_chosen_flow_is_trained_or_refused(experiment: str, stage: str) -> None:
    overrides = [f"experiment={experiment}", f"stage={stage}", "model/flow=pixel"]
    cfg = composed("train", overrides)
    try:
        check_choices(cfg, overrides, multirun=False)
    except ValueError as error:
        assert "model/flow=pixel has no effect" in str(error)
        assert cfg.stage.flow is None or not cfg.stage.flow._target_.endswith("PixelFlow")
    else:
        assert cfg.stage.flow._target_.endswith("PixelFlow")


def test_networks_of_another_kind_of_stage_are_refused() -> None:
    for stage, override, expected in (
        ("clips", "model/segmentor=tiny", "model/clip_segmentor=<name>"),
        ("clips", "model.flow.mlp_dim=3", "model/clip_segmentor=<name>"),
        ("flow", "model/clip_segmentor=mrcfa_b1", "stage=clips, which trains it"),
    ):
        with pytest.raises(ValueError, match=f"has no effect on stage={stage}; expected {expected}"):
            check_choices(composed("train", [f"stage={stage}"]), [override], multirun=False)
    check_choices(composed("train", ["stage=clips"]), ["model/clip_segmentor=mrcfa_b1"], multirun=False)


def test_a_benchmark_of_a_checkpoint_takes_no_other_model() -> None:
    for override in ("model/flow=pixel", "model.flow.mlp_dim=3", "model/segmentor=tiny"):
        cfg = composed("benchmark", ["checkpoint=a", *([override] if "mlp" not in override else ["model.flow.mlp_dim=3"])])
        with pytest.raises(ValueError, match="has no effect: checkpoint=a is the whole model"):
            check_choices(cfg, ["checkpoint=a", override], multirun=False)
    overrides = ["what=training", "stage=segmentor", "model/flow=pixel"]
    with pytest.raises(ValueError, match="model/flow=pixel has no effect"):
        check_choices(composed("benchmark", overrides), overrides, multirun=False)
    check_choices(composed("benchmark", ["what=cost", "stage=segmentor"]), ["what=cost", "model/flow=pixel"], multirun=False)
