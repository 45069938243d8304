"""Division of the clips of an evaluation among the workers of the configured engine."""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from src.commands.parallel.session import engine_session
from src.inference.distributed import SINGLE, Share
from src.inference.engines.tasks import TaskOptions
from src.inference.evaluation.progress import ProgressCallback
from src.inference.evaluation.scores import Scores
from src.ops.device import set_threads


class ClipTask(NamedTuple):
    """One clip of one result: numbers of both, and the folder of the label maps to save."""

    job: int
    clip: int
    folder: Path | None


Evaluate = Callable[[ClipTask, Share[Scores]], Any]
"""Evaluates the result of a task over the clips of a division."""
ShareOf = Callable[[Path | None, int], Share[Scores]]
"""Returns the division of the clips of a result, from the folder of the label maps to save and the number of the result."""


@contextmanager
def clip_shares(cfg: DictConfig, load: Callable[[DictConfig], Evaluate]) -> Iterator[ShareOf]:
    """Yield the divisions of clips; sums over workers equal those of one process bit for bit, as far as label maps do.

    Args:
        cfg: configuration of ``conf/eval.yaml``.
        load: loads what evaluates one clip; a function of a module, which workers import.
    """
    if cfg.engine.name == "local":
        yield lambda folder, job: SINGLE.share
        return
    settings: Any = OmegaConf.to_container(cfg, resolve=True)
    build = partial(clip_worker, load, settings)
    with engine_session(cfg, build, build) as session:

        def share(
            job: int, folder: Path | None, costs: Sequence[float], score: object, progress: ProgressCallback | None = None
        ) -> list[Scores]:
            found: dict[int, Scores] = {}
            tasks = [ClipTask(job, clip, folder) for clip, cost in enumerate(costs) if cost]
            for task, result in session.run(tasks, TaskOptions(cost=lambda task: costs[task.clip])):
                if isinstance(result, Exception):
                    raise result
                found[task.clip] = result
                if progress is not None:
                    progress(int(sum(costs[clip] for clip in found)), int(sum(costs)))
            return [found[clip] for clip in sorted(found)]

        yield lambda folder, job: partial(share, job, folder)


def clip_worker(load: Callable[[DictConfig], Evaluate], settings: dict[str, Any]) -> Callable[[ClipTask], Scores]:
    """Load what evaluates one clip, for a configuration in plain values, and return the function of its scores."""
    cfg = OmegaConf.create(settings)
    set_threads(cfg.threads)
    evaluate = load(cfg)

    def work(task: ClipTask) -> Scores:
        found: list[Scores] = []

        def share(costs: object, score: Callable[[Sequence[int]], Scores], progress: object = None) -> list[Scores]:
            found.append(score([task.clip]))
            return copy.deepcopy(found)

        evaluate(task, share)
        return found[0]

    return work
