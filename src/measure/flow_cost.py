"""Multiply-adds, parameters and time of flow estimators on a non-key frame."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from src.files.tables import Row
from src.measure.cost import params_m, without_data
from src.measure.counting import count_multiply_adds
from src.measure.latency import describe_machine, time_in_turn
from src.models.flow import CopyFlow
from src.models.flow.base import FlowEstimator
from src.structures import Size


@dataclass(frozen=True)
class FlowCost:
    """Cost of one estimator, batch 1.

    Attributes:
        gflops: GFLOPs of a non-key frame, one multiply-add counted as 1: only the estimator with its detail, without warp,
            post-processing and cached features of the key frame. ``None`` if the work is done outside torch.
        params_m: millions of parameters.
    """

    gflops: float | None
    params_m: float


def flow_cost(flow: FlowEstimator, queries: tuple[int, int], size: Size) -> FlowCost:
    """Count an estimator for queries (Q, C) and an image (H, W), before padding, like :func:`src.measure.cost.frame_cost`."""
    millions = params_m(flow)
    if millions == 0:
        # The work of OpenCV and other libraries cannot be counted; copying is none.
        return FlowCost(0.0 if isinstance(flow, CopyFlow) else None, millions)
    with without_data(flow) as shadow:
        image = torch.empty(1, 3, *size, device="cpu")
        # Computed once for all frames that follow a key frame.
        features = shadow.encode_key(image)
        no_queries = torch.empty(1, *queries, device="cpu")
        _, count = count_multiply_adds(lambda: shadow.with_detail(shadow(image, image, no_queries, features)))
    return FlowCost(count / 1e9, millions)


def cost_rows(
    costs: Mapping[str, FlowCost], calls: Mapping[str, Callable[[], object]], repeats: int, device: torch.device | str
) -> dict[str, Row]:
    """Build the columns of estimators' costs: ``gflops``, ``params_m``, ``ms`` (median), device, threads and precision.

    ``calls`` run one non-key frame of each estimator. ``repeats`` is the number of timed calls of each, in turn, after an untimed
    one; 0: ``ms`` is ``None``.
    """
    times = time_in_turn(calls, warmup=1, repeats=repeats) if repeats else {}
    machine = describe_machine(device)
    return {
        name: {
            "gflops": cost.gflops,
            "params_m": cost.params_m,
            "ms": times[name].median_ms if name in times else None,
            "device": machine["device"],
            "threads": machine["threads"],
            "precision": "float32",
        }
        for name, cost in costs.items()
    }
