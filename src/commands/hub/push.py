"""Upload of a model folder with its card: the work of ``python -m src.push``."""

import logging
from pathlib import Path

import yaml
from omegaconf import DictConfig

from src.command_line.arguments import typed_path
from src.commands.hub.card import check_target, describe, read_rows
from src.inference.evaluation.progress import heartbeat
from src.weights.folder_files import CARD_FILE, CONFIG_FILE, read_config
from src.weights.hub.upload import check_kind, push_folder

log = logging.getLogger(__name__)


def push(cfg: DictConfig) -> None:
    """Write the card of a model folder where it has none, and upload both, for the options of ``conf/push.yaml``.

    Raises:
        FileExistsError: if an option of the card is given and the folder has a card, or the repository has another kind of model.
        OSError: if the hub refuses the token or cannot be reached.
        ValueError: if the folder is no model folder, or an option is invalid.
    """
    folder = typed_path(str(cfg.input))
    check_kind(read_config(folder / CONFIG_FILE), folder)
    rows = None if cfg.evaluation is None else read_rows(typed_path(str(cfg.evaluation)))
    check_target(cfg, push=True)
    card = folder / CARD_FILE
    given = [name for name in ("evaluation", "picture", "license") if cfg[name] is not None]
    if card.exists() and given and not cfg.overwrite:
        raise FileExistsError(f"{card} exists, and {given[0]} is for a new card; expected no card; overwrite=true replaces it")
    if not card.exists() or cfg.overwrite:
        with heartbeat(f"writing the card of {folder}"):
            describe(folder, cfg, rows, command=_command(folder))
        log.info("written: %s", card)
    with heartbeat(f"uploading {folder} to {cfg.repo_id}"):
        push_folder(folder, cfg.repo_id, cfg.private, message=cfg.message)


def _command(folder: Path) -> list[str] | None:
    """Return the options of the training whose run folder contains the model folder; ``None`` for other folders."""
    overrides = folder.resolve().parent / ".hydra" / "overrides.yaml"
    if folder.resolve().name != "model" or not overrides.is_file():
        return None
    values = yaml.safe_load(overrides.read_text(encoding="utf-8"))
    return [str(value) for value in values] if isinstance(values, list) else None
