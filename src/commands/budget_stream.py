"""Stream at a budget, with the costs of the frames of its source."""

import logging

from src.inference.cost_probe import measure_ms
from src.inference.evaluation.fusing import Fusing
from src.inference.scheduling.budget import Budget
from src.inference.scheduling.step_costs import StepCosts
from src.inference.streaming import StreamingSegmentor
from src.inference.video.sources import FrameSource, first_image
from src.measure.cost import frame_cost

log = logging.getLogger(__name__)


def at_budget(budget: Budget, stream: StreamingSegmentor, source: FrameSource) -> StreamingSegmentor:
    """Return the stream at a budget with the costs of a source's frames; unchanged for a source without a frame."""
    first = first_image(source)
    if first is None:
        return stream
    if budget.unit == "ms":
        costs = measure_ms(stream, first[None])
    else:
        resized = stream.resize(first[None])
        size = (resized.shape[-2], resized.shape[-1])
        cost, signal = frame_cost(stream.propagator, size, [stream.fusion]), budget.signal_gflops(size)
        kinds = Fusing(stream.mode, stream.fusion, stream.fuse_keys).kinds
        costs = StepCosts(*(cost.frame(kind.is_key, kind.flows, stream.fusion, kind.sources) + signal for kind in kinds))
    budget = budget.with_costs(costs)
    log.info(
        "a key frame costs %.4g %s, a non-key frame %.4g: a budget of %.4g per frame allows a key frame every %.1f frames",
        costs.key, "ms" if budget.unit == "ms" else "GFLOPs", costs.nonkey, budget.per_frame, budget.key_interval,
    )  # fmt: skip
    return stream.with_scheduler(budget)
