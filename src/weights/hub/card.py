"""Model card of a model folder: README.md with the hub's metadata, and its pictures."""

import html
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from src.files.atomic_write import write_rgb, write_text
from src.files.saved_networks import read_json_object
from src.files.tables import Row, markdown_table, number
from src.structures import Size
from src.visualization.charts import sweep_picture
from src.visualization.class_colors import class_palette
from src.weights.folder_files import CARD_FILE, CLIP_FORMAT, CONFIG_FILE, WEIGHTS_FILE

CURVE, INPUT, PREDICTION = "key_intervals.png", "widget.png", "prediction.png"
PICTURES = (CURVE, INPUT, PREDICTION)
"""Files beside the card: scores by key interval, a picture for the hub's widget, and its prediction."""

TYPICAL_FRAME: Size = (1080, 1920)
"""Frame whose cost a card states, (H, W), before it is resized to the input of the network."""

_LIBRARY = "mpvss"
_TASK = "image-segmentation"
_SCORES = {"miou": "mIoU", "wiou": "WIoU", "vc8": "mVC8", "vc16": "mVC16"}
_USE = (
    "Video of the kind that the training data show, at a similar size. Expect errors on other cameras, places, weather and times "
    "of day, and on small and rare classes; measure them on labelled frames of your own with `src.eval` before relying on the "
    "labels. The model must not be the only basis of decisions about people."
)


@dataclass(frozen=True)
class CardFacts:
    """Content of a card beyond the config of the model folder.

    Attributes:
        repo_id: ``<owner>/<name>``.
        license: identifier of the hub, such as ``mit``; ``None``: the card states that there is none.
        command: command line of the training.
        code: commit of the code that it ran.
        rows: rows of an evaluation by ``src.eval``; a NaN is ``None``.
        validation: metrics that the training logged last, 0..1, by name; only those of mIoU are shown.
        cost: GFLOPs (multiply-adds) per frame, by kind of frame.
        size: (H, W) of the network's input that ``cost`` is of.
        parameters: millions of parameters by part.
    """

    repo_id: str
    license: str | None = None
    command: str | None = None
    code: str | None = None
    rows: Sequence[Row] = ()
    validation: Mapping[str, float] = field(default_factory=dict)
    cost: Mapping[str, float] = field(default_factory=dict)
    size: Size | None = None
    parameters: Mapping[str, float] = field(default_factory=dict)


def write_card(folder: Path, facts: CardFacts) -> Path:
    """Write ``README.md`` and the plot of key intervals to a model folder, and return the card.

    Pictures of the folder with the names of ``INPUT`` and ``PREDICTION`` are shown.
    """
    config = read_json_object(folder / CONFIG_FILE)
    _draw_curve(facts, folder / CURVE)
    data = card_data(config.get("metadata", {}), facts, has_picture=(folder / INPUT).is_file())
    body = "\n\n".join(_sections(config, facts, folder))
    write_text(folder / CARD_FILE, f"---\n{data.to_yaml()}\n---\n\n{body}\n")
    return folder / CARD_FILE


def is_own_card(path: Path) -> bool:
    """Return whether a file is a card of :func:`write_card`, possibly edited."""
    return (
        path.is_file()
        and f"library_name: {_LIBRARY}\n" in path.read_text(encoding="utf-8", errors="replace").partition("\n---")[0]
    )


def card_data(metadata: Mapping[str, Any], facts: CardFacts, has_picture: bool = False) -> ModelCardData:
    """Return the metadata that the hub reads at the head of a card.

    Args:
        metadata: metadata of the model folder.
        facts: scores in percent become results of the data's evaluation.
        has_picture: whether the widget shows the picture of the folder.
    """
    widget = [{"src": INPUT, "example_title": "Frame"}] if has_picture else None
    results = [
        EvalResult(
            task_type=_TASK,
            dataset_type=re.sub(r"[^\w.-]+", "_", data),
            dataset_name=data,
            metric_type="mean_iou",
            metric_name=name,
            metric_value=round(100 * value, 2),
        )
        for name, value, data in _results(facts, str(metadata.get("data") or "own data"))
    ]
    return ModelCardData(
        library_name=_LIBRARY,
        pipeline_tag=_TASK,
        license=facts.license,
        tags=["video", "semantic-segmentation", "video-semantic-segmentation", "mask-propagation"],
        metrics=["mean_iou"],
        model_name=facts.repo_id.rpartition("/")[2] if results else None,
        eval_results=results or None,
        widget=widget,
    )


def _results(facts: CardFacts, data: str) -> Iterator[tuple[str, float, str]]:
    """Yield the name of each score, its value 0..1, and the name of its data: those of the evaluation, or of the training."""
    for row in facts.rows:
        if row.get("miou") is not None:
            yield f"mIoU, {_title(row)}, key interval {row['key_interval']}", row["miou"], str(row.get("data") or data)
    for name, value in _validation(facts):
        yield f"mIoU, validation, {name}", value, data


def _validation(facts: CardFacts) -> list[tuple[str, float]]:
    """Return the finite scores of the training's validation: all pairs, and those of each offset to the key frame."""
    found = {}
    for name, value in facts.validation.items():
        kind = name.removeprefix("val/miou")
        if kind == name or not math.isfinite(value):
            continue
        offset = kind.removeprefix("_offset_")
        if not kind:
            found[0] = ("all frames", value)
        elif offset.isdecimal():
            found[int(offset)] = (f"{offset} frames from the key frame", value)
    return [found[place] for place in sorted(found)]


def _draw_curve(facts: CardFacts, path: Path) -> None:
    """Draw the scores against the key interval, or the training's against the frames from the key frame, if there are several."""
    curves: dict[str, dict[str, list[float]]] = {}
    axis = "key interval, frames"
    for row in facts.rows:
        if row.get("scheduler", "fixed") == "fixed" and row.get("miou") is not None:
            curves.setdefault(_title(row), {})[str(row["key_interval"])] = [100 * row["miou"]]
    if not facts.rows:
        axis = "frames from the key frame"
        scores = [(name.partition(" ")[0], value) for name, value in _validation(facts) if name != "all frames"]
        curves = {"validation": {name: [100 * value] for name, value in scores}}
    if len({name for points in curves.values() for name in points}) > 1:
        write_rgb(sweep_picture(curves, axis, "mIoU, %"), path)
    else:
        path.unlink(missing_ok=True)


def _title(row: Row) -> str:
    offline = "offline" if row.get("mode") == "offline" else None
    words = [row["method"], offline, row.get("fusion"), "fused keys" if row.get("fuse_keys") else None]
    scheduler = row.get("scheduler", "fixed")
    return ", ".join(str(word) for word in (*words, None if scheduler == "fixed" else scheduler) if word)


def _sections(config: Mapping[str, Any], facts: CardFacts, folder: Path) -> Iterator[str]:
    metadata = config.get("metadata", {})
    is_clip = config.get("format") == CLIP_FORMAT
    yield f"# {facts.repo_id.rpartition('/')[2]}"
    how = "from each frame and those before it" if is_clip else "on key frames, whose masks are propagated to the frames between"
    yield f"Semantic segmentation of video into {config['segmentor'].get('num_classes')} classes, {how}."
    if (folder / PREDICTION).is_file():
        yield f"![Prediction]({PREDICTION})"
    yield f"```bash\npython -m src.predict input=video.mp4 checkpoint={facts.repo_id}\n```"
    if not is_clip:
        yield f'```python\nfrom src import Propagator\n\nmodel = Propagator.from_pretrained("{facts.repo_id}")\n```'
    yield markdown_table(["property", "value"], list(_properties(config, facts)))
    yield from _score_sections(facts, has_curve=(folder / CURVE).is_file())
    if facts.cost:
        at = "" if facts.size is None else f" of {facts.size[0]}x{facts.size[1]} pixels"
        table = markdown_table(["frame", "GFLOPs"], [[name, number(value, 2)] for name, value in facts.cost.items()])
        yield f"## Cost\n\nBillions of multiply-adds for a frame{at}.\n\n{table}"
    if metadata.get("classes"):
        yield f"## Classes\n\n{_class_table(metadata)}"
    yield f"## Intended use and limits\n\n{_USE}"
    named = f"`{facts.license}`." if facts.license else "None is stated: ask the owner before using the weights."
    yield f"## License\n\n{named} The data of the training have terms of their own."
    if facts.command:
        code = f"\n\nCommit of the code: `{facts.code}`." if facts.code else ""
        yield f"## Training\n\n```bash\n{facts.command}\n```{code}"


def _properties(config: Mapping[str, Any], facts: CardFacts) -> Iterator[list[str]]:
    metadata, segmentor = config.get("metadata", {}), config["segmentor"]
    backbone = segmentor.get("backbone_config")
    name = backbone.get("backbone") or backbone.get("model_type") if isinstance(backbone, Mapping) else None
    yield ["network", str(segmentor.get("model_type")) + (f", backbone {name}" if name else "")]
    if isinstance(config.get("flow"), Mapping):
        yield ["flow", str(config["flow"].get("name"))]
    if facts.parameters:
        yield ["parameters", ", ".join(f"{part} {value:.2f} M" for part, value in facts.parameters.items())]
    for key, words in (("data", "data"), ("stage", "stage of training"), ("short_side", "shorter side of the input, pixels")):
        if metadata.get(key) is not None:
            yield [words, _plain(metadata[key])]
    yield ["files", f"`{CONFIG_FILE}` (format {config.get('format')}, version {config.get('format_version')}), `{WEIGHTS_FILE}`"]


def _score_sections(facts: CardFacts, has_curve: bool) -> Iterator[str]:
    if facts.rows:
        lines = [
            [
                _plain(_title(row)),
                _plain(row["key_interval"]),
                *(number(row.get(name), 1, 100) for name in _SCORES),
                number(row.get("gflops"), 2),
            ]
            for row in facts.rows
        ]
        table = markdown_table(["method", "k", *_SCORES.values(), "GFLOPs"], lines)
        yield f"## Scores\n\nPercent, by `src.eval`; k is the key interval, GFLOPs are per frame.\n\n{table}"
        scores = [row.get("iou_per_class") or {} for row in facts.rows]
        names = list(dict.fromkeys(name for one in scores for name in one))
        if names:
            titles = [_plain(f"{_title(row)}, k = {row['key_interval']}") for row in facts.rows]
            lines = [[_plain(name), *(number(one.get(name), 1, 100) for one in scores)] for name in names]
            yield f"IoU of each class, percent:\n\n{markdown_table(['class', *titles], lines)}"
    elif validation := _validation(facts):
        table = markdown_table(["validation", "mIoU"], [[name, number(value, 1, 100)] for name, value in validation])
        yield f"## Scores\n\nPercent, on the validation samples of the training.\n\n{table}"
    if has_curve:
        yield f"![mIoU and distance from the key frame]({CURVE})"


def _class_table(metadata: Mapping[str, Any]) -> str:
    names = [str(name) for name in metadata["classes"]]
    saved = [(red, green, blue) for red, green, blue in metadata.get("palette") or ()]
    colors = class_palette(names, saved if metadata.get("palette_chosen") and len(saved) == len(names) else ())
    lines = [
        [str(k), _plain(name), "#{:02x}{:02x}{:02x}".format(*color)]
        for k, (name, color) in enumerate(zip(names, colors, strict=True))
    ]
    return markdown_table(["index", "class", "color"], lines)


def _plain(text: object) -> str:
    """Return a text in one line without markup."""
    return html.escape(" ".join(str(text).split()), quote=False)
