"""Facts and pictures of a model card, computed from the saved model."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from src.command_line.arguments import typed_path
from src.files.atomic_write import write_rgb
from src.files.images.readers import read_rgb
from src.files.own_package import NAME
from src.files.tables import Row
from src.inference.clip_stream import ClipStream
from src.inference.flow_choice import names_and_colors, with_flow
from src.inference.scheduling.scheduler import FixedInterval
from src.inference.step_result import LabelStream
from src.inference.streaming import StreamingSegmentor
from src.measure.clip_cost import clip_cost, inference_params_m
from src.measure.cost import frame_cost
from src.ops.resize import short_side_size
from src.visualization.overlay import overlay
from src.weights.clip_folder import is_clip_model, load_clip_model
from src.weights.folder_files import CARD_FILE
from src.weights.hub.card import INPUT, PREDICTION, TYPICAL_FRAME, CardFacts, is_own_card, write_card
from src.weights.hub.upload import check_id, check_upload
from src.weights.model_folder import load_model

_NEEDED = {"method", "key_interval", "miou"}
_NUMBERS = ("miou", "wiou", "vc8", "vc16", "gflops")


def check_target(hub: DictConfig, push: bool, folder: Path | None = None) -> None:
    """Check the settings of a card and of an upload before the work that comes first.

    Args:
        hub: ``hub`` of ``conf/train.yaml``, or the options of ``conf/push.yaml``.
        push: whether the model is uploaded.
        folder: model folder whose card is to be written at the end.

    Raises:
        FileExistsError: if the folder has a card that was not written by this project.
        OSError: if the picture cannot be read, or the hub refuses the token or cannot be reached.
        ValueError: if the id of the repository is missing or invalid, or there is no token.
    """
    if hub.repo_id is None:
        given = [name for name in ("push", "private", "license", "picture") if hub.get(name) not in (None, False)]
        if given:
            raise ValueError(
                f"hub.repo_id is null and hub.{given[0]} is set; expected <owner>/<name>, the repository of the model"
            )
        return
    if push:
        check_upload(hub.repo_id)
    else:
        check_id(hub.repo_id)
    if hub.picture is not None:
        read_rgb(typed_path(str(hub.picture)))
    card = None if folder is None else folder / CARD_FILE
    if card is not None and card.exists() and not is_own_card(card):
        raise FileExistsError(f"{card} was not written by this project; expected no card; move it away, or set hub.repo_id=null")


def read_rows(path: Path) -> list[Row]:
    """Return the rows of an evaluation of masks by ``src.eval``; another file is a ``ValueError``."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON: {error}; expected the table of src.eval") from error
    if not isinstance(rows, list) or not rows or not all(map(_is_row, rows)):
        raise ValueError(f"{path} has no rows of methods and key intervals; expected the table of src.eval")
    return rows


def _is_row(row: object) -> bool:
    if not isinstance(row, dict) or not row.keys() >= _NEEDED:
        return False
    classes = row.get("iou_per_class") or {}
    if not isinstance(classes, dict):
        return False
    numbers = [*(row.get(name) for name in _NUMBERS), *classes.values()]
    return isinstance(row["method"], str) and all(value is None or isinstance(value, (int, float)) for value in numbers)


def describe(
    folder: Path,
    hub: DictConfig,
    rows: list[Row] | None = None,
    validation: Mapping[str, float] | None = None,
    command: list[str] | None = None,
    code: str | None = None,
) -> None:
    """Write the card of a model folder, with the cost of its model and a picture that it predicts.

    Args:
        folder: model folder.
        hub: ``repo_id``, ``license`` and ``picture`` of ``conf/train.yaml``.
        rows: scores by ``src.eval``.
        validation: last metrics of the training.
        command: options of the training.
        code: commit of its code.
    """
    load: Any = load_clip_model if is_clip_model(folder) else load_model
    network, metadata = load(folder)
    sides = metadata.get("short_side"), metadata.get("max_long_side")
    stream: LabelStream
    if is_clip_model(folder):
        stream = ClipStream(network, *sides)
        _, size = stream.sizes(TYPICAL_FRAME)
        cost = {"every frame": clip_cost(network, size).streamed}
        parameters = {"network": inference_params_m(network)}
        num_classes = network.num_classes
    else:
        # As src.predict runs it: a flow that is not trained is replaced.
        network = with_flow(network, metadata)
        stream, size = StreamingSegmentor(network, FixedInterval(1), *sides), short_side_size(TYPICAL_FRAME, *sides)
        counted = frame_cost(network, size)
        cost, parameters = counted.by_kind, dict(counted.params_m)
        num_classes = network.segmentor.num_classes
    if hub.picture is not None:
        image = read_rgb(typed_path(str(hub.picture)))
        semantic_map = next(iter(stream.label_frames([image[None]]))).semantic_map[0]
        _, colors = names_and_colors(metadata, num_classes)
        write_rgb(image, folder / INPUT)
        write_rgb(overlay(image, semantic_map.cpu(), colors), folder / PREDICTION)
    line = None if command is None else shlex.join(["python", "-m", f"{NAME}.train", *command])
    facts = CardFacts(hub.repo_id, hub.license, line, code, rows or (), validation or {}, cost, size, parameters)
    write_card(folder, facts)
