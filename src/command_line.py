"""Command-line handling of all entry points: quoted paths, checks of arguments, one-line errors, signals."""

from __future__ import annotations

import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from omegaconf import DictConfig, OmegaConf

log = logging.getLogger(__name__)

# Values that Hydra's grammar accepts without quotes: ASCII letters only, and interpolations of them.
_UNQUOTED = re.compile(r"(?:[\w./+%@-]|\$\{[\w.:]+\})*", re.ASCII)
# Names that Hydra would read as a number or a truth value: a folder 2024_05 would become 202405.
_NOT_TEXT = re.compile(r"[+-]?[\d._]+(?:e[+-]?[\d_]+)?|true|false|[+-]?(?:inf|nan)", re.IGNORECASE | re.ASCII)
_PATH_KEYS = {
    "input",
    "output",
    "checkpoint",
    "predictions",
    "save_predictions",
    "overlay",
    "pictures",
    "report",
    "exclusion",
    "replay",
}
_REMOVED_LIMITS = "no such key: limits on propagations were removed, because none scored above counting frames"
# Keys of an earlier release and their successors, kept for one release so that a typed key ends in an error naming the new one.
RENAMED_KEYS = {
    "lags": "offsets",
    "phases": "protocol and key_frame_offsets: phases=first is key_frame_offsets=first, phases=offsets is protocol=pairs",
    "head_starts": "interval_shifts",
    "scheduler.head_start": "scheduler.interval_shift",
    "callbacks.broken_numbers": "callbacks.nonfinite",
    "stage.objective.self_labels": "stage.objective.pseudo_labels",
    "scheduler.floor": "scheduler.min_interval",
    "scheduler.ceiling": "scheduler.max_interval",
    "scheduler.distrust": _REMOVED_LIMITS,
    "adaptive.floor": "adaptive.min_interval",
    "adaptive.ceiling": "adaptive.max_interval",
    "adaptive.distrust": _REMOVED_LIMITS,
    "budget.distrust": _REMOVED_LIMITS,
    "model.flow.fill_classes": "model.flow.disocclusion_classes",
    "model.flow.fill_dim": "model.flow.disocclusion_dim",
    "model.flow.segment_dim": "no such key, as CorrelationFlow predicts one flow for all segments",
    "model.flow.segment_rank": "no such key, as CorrelationFlow predicts one flow for all segments",
    "stage.objective.fill": "stage.objective.disocclusion",
    "stage.objective.segments": "no such key, as the segmentor runs only for a flow that reads its queries",
    "data.motion.max_gap": "data.motion.camera.max_offset",
    "data.motion.speed": "data.motion.camera.max_speed",
    "data.motion.standing": "data.motion.camera.standstill_probability",
    "data.motion.earlier_key": "data.motion.camera.earlier_key_probability",
    "data.motion.turn": "data.motion.camera.yaw_rate",
    "data.motion.shake": "data.motion.camera.shake",
    "data.motion.sideways": "data.motion.camera.lateral_speed",
    "data.motion.moving": "data.motion.objects.moving_probability",
    "data.motion.own_speed": "data.motion.objects.speed",
    "data.motion.max_pasted": "data.motion.objects.max_pasted",
    "data.motion.ground_classes": "data.motion.layers.ground_classes",
    "data.motion.far_classes": "data.motion.layers.far_classes",
    "data.motion.depth_spread": "data.motion.layers.depth_spread",
    "data.motion.min_segment": "data.motion.layers.min_segment",
    "data.motion.max_segments": "data.motion.layers.max_segments",
    "data.motion.motion": "data.motion.strength",
}
_PATH_ENDINGS = (".root", ".exclude", "_dir", ".dir", "_from", ".folder", ".runs", ".data", ".path", ".path_or_id")
# Config groups that only a multirun reads.
_MULTIRUN_GROUPS = ("hparams_search", "hydra/launcher", "hydra/sweeper")


def quote_paths(arguments: Sequence[str]) -> list[str]:
    r"""Quote the values of path overrides, so that any file name works as typed.

    Without quotes, ``checkpoint=epoch=3.ckpt`` and ``input=my clip (1).mp4`` break Hydra's grammar or become a sweep. Quoted
    values and overrides of other keys pass unchanged. ``null`` stays null, and ``${...}`` stays an interpolation.

    Args:
        arguments: command-line arguments after the program's name.
    """
    return [_quoted(argument) for argument in arguments]


def check_renamed_keys(arguments: Sequence[str]) -> None:
    """Refuse configuration keys of an earlier release.

    Args:
        arguments: command-line arguments after the program's name.

    Raises:
        ValueError: if a key was renamed; the message contains its successor.
    """
    for argument in arguments:
        key, equals, _ = argument.lstrip("+~").partition("=")
        for old, new in RENAMED_KEYS.items():
            if equals and (key == old or key.startswith(f"{old}.")):
                raise ValueError(f"{key} is the key of an earlier release; expected {new}")


def require_values(cfg: DictConfig, *keys: str) -> None:
    """Refuse a configuration in which a mandatory value was not given.

    Args:
        cfg: the composed configuration.
        keys: the mandatory keys, dotted; none for every key of the configuration.

    Raises:
        ValueError: if the value of a key is ``???``.
    """
    absent = OmegaConf.missing_keys(cfg)
    missing = [key for key in keys or sorted(absent) if key in absent]
    if missing:
        raise ValueError(f"{', '.join(missing)}: not given; expected {' '.join(f'{key}=<value>' for key in missing)}")


def check_choices(cfg: DictConfig, choices: Sequence[str], multirun: bool) -> None:
    """Refuse group choices of a training command line that have no effect.

    Args:
        cfg: the composed configuration of ``conf/train.yaml``, its interpolations unresolved.
        choices: overrides as typed, such as ``model/flow=pixel``.
        multirun: whether the command has ``-m``.

    Raises:
        ValueError: if ``model/flow`` is chosen and ``stage.flow`` does not use it, or a group of multiruns without ``-m``.
    """
    chosen = {key.lstrip("+"): choice for key, _, choice in (argument.partition("=") for argument in choices)}
    if "model/flow" in chosen and not OmegaConf.is_interpolation(cfg.stage, "flow"):
        flow, init_from = cfg.stage.flow, cfg.stage.init_from
        raise ValueError(
            f"model/flow={chosen['model/flow']} has no effect: stage={cfg.stage.name} takes its flow from "
            f"{f'stage.init_from={init_from} (stage.flow=null)' if flow is None else f'stage.flow={flow._target_}'}; leave "
            "model/flow out, or train a fresh flow from the segmentor with +sweep=fresh_flow"
        )
    for group in _MULTIRUN_GROUPS:
        if group in chosen and not multirun:
            raise ValueError(f"{group}={chosen[group]} has no effect on a single run; add -m, or leave {group} out")


def prepare_arguments() -> None:
    """Check and quote this process's command line; entry points call this first.

    A renamed key ends the process with one line and exit code 1.
    """
    try:
        check_renamed_keys(sys.argv[1:])
    except ValueError as error:
        sys.exit(str(error))
    sys.argv[1:] = quote_paths(sys.argv[1:])


def typed_path(text: str) -> Path:
    """Return the path as typed; a leading ``~`` is the home folder unless a file or folder has that name."""
    path = Path(text)
    return path if not text.startswith("~") or Path(path.parts[0]).exists() else path.expanduser()


@contextmanager
def errors_in_a_line() -> Iterator[None]:
    """End the process with one line and exit code 1 on ``OSError`` and ``ValueError``: errors of arguments and files.

    Other errors are bugs and keep their stack; ``HYDRA_FULL_ERROR=1`` in the environment keeps the stack of all errors.
    """
    try:
        yield
    except (OSError, ValueError) as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        log.error("%s", error)
        sys.exit(1)


@contextmanager
def stopping_on_signals() -> Iterator[tuple[threading.Event, list[int]]]:
    """Let Ctrl-C and SIGTERM set an event instead of ending the process; the second signal raises ``KeyboardInterrupt``.

    Yields:
        The event and the list of signals received so far.
    """
    stop, received = threading.Event(), list[int]()

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    wanted = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.signal(number, note) for number in wanted}
    try:
        yield stop, received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _quoted(argument: str) -> str:
    key, equals, value = argument.partition("=")
    name = key.lstrip("+~")
    if not equals or not (name in _PATH_KEYS or name.endswith(_PATH_ENDINGS)):
        return argument
    already = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    if already or (_UNQUOTED.fullmatch(value) and not _NOT_TEXT.fullmatch(value)):
        return argument
    escaped = value.replace("\\", "\\\\") if value.endswith("\\") or "\\'" in value else value
    return f"{key}='" + escaped.replace("'", "\\'") + "'"
