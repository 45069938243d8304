"""Files of a training run in its folder, as distinct from those of the user."""

import json
import os
import re
from pathlib import Path

from src.files.atomic_write import write_text
from src.files.results.result_marker import read_json
from src.training.checkpointing.checkpoint_files import CHECKPOINT_FOLDER, checkpoints_by_step, is_checkpoint_of
from src.weights.folder_files import CARD_FILE
from src.weights.hub.card import is_own_card
from src.weights.model_folder import FORMAT

RUN_FILE = "run.json"
"""Marker of a run folder, with the identity of its run."""
_RUN_FORMAT = "mpvss-run"
_MODEL = r"model/(config\.json|model\.safetensors|README\.md|key_intervals\.png|widget\.png|prediction\.png)"
# All files that a run writes; any other file belongs to the user.
_FILES = re.compile(
    rf"checkpoints/(step_\d{{7,}}|best)\.ckpt|{_MODEL}|broken/step_\d+_rank_\d+/(batch\.(safetensors|json)|{_MODEL})"
    r"|csv/version_\d+/(metrics\.csv|hparams\.yaml)|tensorboard/version_\d+/(events\.out\.tfevents\.[^/]*|hparams\.yaml)"
    r"|wandb/((offline-)?run-\d{8}_\d{6}-\w+/.*|latest-run|debug[\w-]*\.log)"
    r"|pictures/step_\d{7}/\d+\.png|overlays/step_\d{7}\.mp4|skipped_samples\.csv|failed\.txt|train\.log|run\.json"
    r"|\.hydra/(config|hydra|overrides)\.yaml"
)
ENTRIES = (
    *(CHECKPOINT_FOLDER, "model", "broken", "csv", "tensorboard", "wandb", "pictures", "overlays", ".hydra"),
    *("skipped_samples.csv", "failed.txt", "train.log", RUN_FILE),
)
"""Files and folders of a run, directly in its folder."""
# Written by Hydra and by the multirun, before the run marks its folder.
_FIRST = ("train.log", ".hydra/", "failed.txt")


def is_run(folder: Path) -> bool:
    """Return whether a folder contains a run: its marker, a checkpoint of this project, or a model folder."""
    return (
        read_run_file(folder) is not None
        or any(is_checkpoint_of(path, read_run_file(folder)) for path in checkpoints_by_step(folder / CHECKPOINT_FOLDER))
        or is_model(folder / "model")
    )


def read_run_file(folder: Path) -> str | None:
    """Return the identity of the run of a folder; ``None`` without a marker."""
    content = read_json(folder / RUN_FILE)
    return str(content.get("run")) if content.get("format") == _RUN_FORMAT else None


def write_run_file(folder: Path, run: str) -> None:
    """Mark a folder as that of a run."""
    write_text(folder / RUN_FILE, json.dumps({"format": _RUN_FORMAT, "run": run}) + "\n")


def own_files(folder: Path, aside: bool = False) -> list[str]:
    """List the files that runs write below a folder, by relative name; links to folders are not followed.

    A folder ``model`` of another kind is not of a run, unless its files were moved ``aside``, possibly not yet all of them.
    """
    found = []
    for entry in ENTRIES:
        if entry == "model" and not aside and not is_model(folder / entry):
            continue
        below = os.walk(folder / entry) if not (folder / entry).is_symlink() else ()
        paths = [Path(parent) / name for parent, folders, files in below for name in (*files, *folders)]
        paths += [folder / entry] if (folder / entry).is_file() else []
        # W&B links its latest run, a folder.
        names = [path.relative_to(folder).as_posix() for path in paths if path.is_symlink() or path.is_file()]
        found += [
            name for name in names if _FILES.fullmatch(name) and (Path(name).name != CARD_FILE or is_own_card(folder / name))
        ]
    return found


def is_model(folder: Path) -> bool:
    """Return whether a folder is a model folder of this project."""
    return read_json(folder / "config.json").get("format") == FORMAT


def check_names(folder: Path) -> None:
    """Raise ``FileExistsError`` if a folder without a run contains files of the names that a run writes and deletes."""
    taken = [] if is_run(folder) else [name for name in own_files(folder) if not name.startswith(_FIRST)]
    if taken:
        raise FileExistsError(
            f"{folder / taken[0]} exists, and {folder} contains no run of this project; expected no files of a run's names; "
            "choose another folder (run_dir=<other>)"
        )
