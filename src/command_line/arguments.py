"""Arguments of all entry points: quoted paths and checks."""

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml
from hydra.core.override_parser.types import Quote, QuotedString
from omegaconf import DictConfig, OmegaConf

# Values that Hydra's grammar accepts without quotes: ASCII letters only.
_UNQUOTED = re.compile(r"[\w./+%@-]*", re.ASCII)
_INTERPOLATION = re.compile(r"(\\*)\$\{")
# Names that Hydra would read as a number or a truth value: a folder 2024_05 would become 202405.
_NOT_TEXT = re.compile(r"[+-]?[\d._]+(?:e[+-]?[\d_]+)?|true|false|[+-]?(?:inf|nan)", re.IGNORECASE | re.ASCII)
_PATH_KEYS = {"input", "output", "checkpoint", "replay", "exclusion", "overlay", "pictures", "report"}
_PATH_KEYS |= {"predictions", "save_predictions", "clips", "break_even.clip"}
RENAMED_KEYS: dict[str, str] = yaml.safe_load(Path(__file__).with_name("renamed_keys.yaml").read_text(encoding="utf-8"))
"""Dotted keys of an earlier release and their successors."""
_PATH_ENDINGS = (
    ".root",
    ".exclude",
    "_dir",
    ".dir",
    "_from",
    ".folder",
    ".runs",
    ".data",
    ".shared_data",
    ".path",
    ".path_or_id",
)
# Config groups that only a multirun reads.
_MULTIRUN_GROUPS = ("hparams_search", "hydra/launcher", "hydra/sweeper")


def quote_paths(arguments: Sequence[str]) -> list[str]:
    r"""Quote the values of path overrides, so that any file name works as typed.

    Without quotes, ``checkpoint=epoch=3.ckpt`` and ``input=my clip (1).mp4`` break Hydra's grammar or become a sweep. Quoted
    values and overrides of other keys pass unchanged, but for ``${...}``, which is part of the name and no interpolation.
    ``null`` stays null.
    """
    return [_quoted(argument) for argument in arguments]


def check_renamed_keys(arguments: Sequence[str]) -> None:
    """Refuse configuration keys of an earlier release, with an error that contains the successor."""
    for argument in arguments:
        key, equals, _ = argument.lstrip("+~").partition("=")
        for old, new in RENAMED_KEYS.items():
            if equals and (key == old or key.startswith(f"{old}.")):
                raise ValueError(f"{key} is the key of an earlier release; expected {new}")


def check_choices(cfg: DictConfig, choices: Sequence[str], multirun: bool) -> None:
    """Refuse choices without an effect: of a flow or segmentor that another model replaces, multirun groups without ``-m``.

    Args:
        cfg: the composed configuration of ``conf/train.yaml`` or ``conf/benchmark.yaml``, its interpolations unresolved.
        choices: overrides as typed, such as ``model/flow=pixel`` or ``model.flow.mlp_dim=64``.
        multirun: whether the command has ``-m``.
    """
    chosen = {key.lstrip("+"): choice for key, _, choice in (argument.partition("=") for argument in choices)}
    if "checkpoint" not in cfg:
        _check_kind_of_network(cfg.stage.name, chosen)
    models = [
        key for key in chosen if key in ("model/flow", "model/segmentor") or key.startswith(("model.flow.", "model.segmentor."))
    ]
    if models and cfg.get("checkpoint") is not None:
        raise ValueError(
            f"{models[0]}={chosen[models[0]]} has no effect: checkpoint={cfg.checkpoint} is the whole model; leave one out"
        )
    # A benchmark counts and times model.flow itself, but for a training step.
    takes_stage = "checkpoint" not in cfg or (cfg.what == "training" and cfg.stage.flow is not None)
    if takes_stage and not OmegaConf.is_interpolation(cfg.stage, "flow"):
        flow, init_from = cfg.stage.flow, cfg.stage.init_from
        for key in models:
            # Stage segmentor saves a flow that copies masks; options of the later stages' flow may stay in its command.
            if key == "model/flow" or (key.startswith("model.flow.") and flow is None):
                source = f"stage.init_from={init_from} (stage.flow=null)" if flow is None else f"stage.flow={flow._target_}"
                raise ValueError(
                    f"{key}={chosen[key]} has no effect: stage={cfg.stage.name} takes its flow from {source}; leave {key} out, "
                    "or train a fresh flow from the segmentor with +sweep=fresh_flow"
                )
    for group in _MULTIRUN_GROUPS:
        if group in chosen and not multirun:
            raise ValueError(f"{group}={chosen[group]} has no effect on a single run; add -m, or leave {group} out")


def _check_kind_of_network(stage: str, chosen: Mapping[str, str]) -> None:
    """Refuse choices of a clip segmentor for other stages, and of other networks for ``stage=clips``."""
    clips = stage == "clips"
    for key, choice in chosen.items():
        group = key.replace("/", ".").split(".")
        if group[0] == "model" and group[1:2] and group[1] in (("flow", "segmentor") if clips else ("clip_segmentor",)):
            expected = "model/clip_segmentor=<name>" if clips else "stage=clips, which trains it"
            raise ValueError(f"{key}={choice} has no effect on stage={stage}; expected {expected}; leave {key} out")


def prepare_arguments() -> None:
    """Check and quote this process's command line; entry points call this first.

    Raises:
        ValueError: if a key was renamed.
    """
    check_renamed_keys(sys.argv[1:])
    sys.argv[1:] = quote_paths(sys.argv[1:])


def typed_path(text: str) -> Path:
    """Return the path as typed; a leading ``~`` is the home folder unless a file or folder has that name."""
    path = Path(text)
    return path if not text.startswith("~") or Path(path.parts[0]).exists() else path.expanduser()


def _quoted(argument: str) -> str:
    key, equals, value = argument.partition("=")
    name = key.lstrip("+~")
    if not equals or not (name in _PATH_KEYS or name.endswith(_PATH_ENDINGS)):
        return argument
    # A folder of src.eval, a switch of src.predict.
    if name == "report" and value in ("true", "false"):
        return argument
    already = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    if already or (_UNQUOTED.fullmatch(value) and not _NOT_TEXT.fullmatch(value)):
        # "${" is escaped unless it is already.
        escaped = _INTERPOLATION.sub(lambda found: found[0] if len(found[1]) % 2 else f"{found[1]}\\${{", value)
        return f"{key}={escaped}" if already else argument
    text = _INTERPOLATION.sub(lambda found: f"{2 * found[1]}\\${{", value)
    return f"{key}={QuotedString(text, Quote.single).with_quotes()}"
