"""Prediction of many videos by the configured engine."""

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from src.command_line.arguments import typed_path
from src.command_line.signals import stopping_on_signals
from src.commands.parallel.session import engine_session
from src.files.results.owned_folder import remove_leftovers
from src.inference.engines.tasks import TaskOptions
from src.inference.evaluation.progress import ProgressBars
from src.inference.video.batch import BatchPredictor, Video, VideoOutcome, predict_videos, summary

log = logging.getLogger(__name__)


def predict_many(
    cfg: DictConfig, videos: dict[str, Path], predictor: Callable[..., BatchPredictor], received: list[int]
) -> list[VideoOutcome]:
    """Predict many videos, each into its own folder below ``output``, and return their outcomes.

    An invalid video is an outcome; an invalid option or checkpoint raises.

    Args:
        cfg: configuration of ``conf/predict.yaml``.
        videos: videos by their names.
        predictor: loads the predictor of a configuration in plain values; in this process also with its console and signals.
        received: the signals that stopped it are appended.
    """
    output = typed_path(str(cfg.output)).resolve()
    console = Console(width=None if sys.stdout.isatty() else 120)
    # Here, each video has a bar of its own.
    overall = Console(quiet=True) if cfg.engine.name == "local" else console
    build = partial(predictor, OmegaConf.to_container(cfg, resolve=True))
    with stopping_on_signals() as signals:
        options = TaskOptions(
            cost=lambda video: video.cost,
            failed=lambda outcome: outcome.status == "failed",
            lost=lambda video: remove_leftovers(output, video.name),
            stop=signals[0],
        )

        def finished(listed: Sequence[Video]) -> Iterator[tuple[Video, Any]]:
            with engine_session(cfg, build, partial(build, console, signals)) as session, ProgressBars(overall) as bars:
                task = bars.add_task("all videos", total=len(listed), unit="videos")
                for one in session.run(listed, options):
                    bars.advance(task)
                    yield one

        outcomes = predict_videos(videos, output, finished, cfg.report)
    received.extend(signals[1])
    counts = {name: count for name, count in summary(outcomes).items() if isinstance(count, int) and count}
    log.info("%s; %s", ", ".join(f"{count} {name}" for name, count in counts.items()), output / "summary.json")
    for one in outcomes:
        if one.needs_attention:
            log.error("%s", one)
    return outcomes
