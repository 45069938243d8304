"""GFLOPs and parameters of a propagator, counted on tensors without data."""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv

from src.measure.counting import count_multiply_adds
from src.models.flow.base import FlowEstimator
from src.models.propagator import Propagator
from src.ops.masks import semantic_scores
from src.structures import FlowPrediction, Size

ModuleT = TypeVar("ModuleT", bound=nn.Module)


@dataclass(frozen=True)
class FrameCost:
    """GFLOPs of the steps of a stream, one multiply-add counted as 1, batch 1.

    Attributes:
        key: the segmentor on a key frame, without post-processing, including the query-key products of masked attention and
            the features that the flow estimator caches of the key frame.
        propagate: the flow estimator and the warp of the last prediction's masks, on a non-key frame, and the work that
            disocclusion scores add to post-processing.
        post: from masks to class scores, on every frame: masks upsampled to the padded image and summed by class; the last
            resize to another size is left out.
        params_m: millions of parameters of ``segmentor`` and ``flow``.
    """

    key: float
    propagate: float
    post: float
    params_m: Mapping[str, float]

    def average(self, key_interval: int) -> float:
        """Average the GFLOPs per frame over a key interval; at interval 1: segmentor and post-processing."""
        if key_interval < 1:
            raise ValueError(f"key_interval is {key_interval}; expected at least 1")
        return (self.key + (key_interval - 1) * self.propagate) / key_interval + self.post


def frame_cost(propagator: Propagator, size: Size) -> FrameCost:
    """Count the GFLOPs of a key frame, a propagated frame and the post-processing of a frame.

    The counts reproduce the paper's twelve GFLOPs figures (arXiv 2310.18954: six backbones, two sizes, key interval 5) within
    0.2 %.

    A copy runs on tensors with shapes but no data, so that counting takes seconds on any machine and does not depend on device,
    precision or compilation. An estimator without parameters runs on two black images, since it may read pixels; only the work
    of torch is counted: 0 for ``copy``, the resizing of the flow but not OpenCV's work for ``dis``.

    Args:
        propagator: propagator of any segmentor and flow estimator; not changed.
        size: (H, W) of the network's input, before padding.
    """
    fake = _fake_tensors()
    with without_data(propagator, fake) as shadow:
        image = torch.empty(1, 3, *size, device="cpu")
        key, key_count = count_multiply_adds(lambda: shadow.segmentor(image))
        key = key.final_layer()
        features, encode_count = count_multiply_adds(lambda: shadow.flow.encode_key(image))
    flow_count = 0
    if propagator.flow.training_free:
        black = torch.zeros(1, 3, *size, device="cpu")
        queries = torch.zeros(key.queries.shape, device="cpu")
        flow, flow_count = count_multiply_adds(lambda: propagator.flow(black, black, queries))
        shadow.flow = _FixedFlow(flow)
    with fake:
        (propagated, _), propagate_count = count_multiply_adds(lambda: shadow.propagate(key, image, image, features))
        _, post_count = count_multiply_adds(lambda: semantic_scores(key))
        _, disocclusion_count = count_multiply_adds(lambda: semantic_scores(propagated))
    return FrameCost(
        key=(key_count + encode_count) / 1e9,
        propagate=(flow_count + propagate_count + disocclusion_count - post_count) / 1e9,
        post=post_count / 1e9,
        params_m={name: params_m(getattr(propagator, name)) for name in ("segmentor", "flow")},
    )


class _FixedFlow(FlowEstimator):
    """Replacement of an estimator by its result."""

    def __init__(self, flow: FlowPrediction) -> None:
        super().__init__()
        self.flow = flow

    def config(self) -> dict[str, Any]:
        return {}

    def forward(
        self, key_image: Tensor, nonkey_image: Tensor, queries: Tensor, key_features: tuple[Tensor, ...] | None = None
    ) -> FlowPrediction:
        return self.flow


def _fake_tensors() -> FakeTensorMode:
    # Not the meta device: autocast, which our operators switch off, does not support it.
    # A shape environment permits shapes that depend on data (OneFormer indexes with torch.where).
    return FakeTensorMode(allow_non_fake_inputs=True, shape_env=ShapeEnv())


@contextmanager
def without_data(module: ModuleT, mode: FakeTensorMode | None = None) -> Iterator[ModuleT]:
    """Yield a copy of a module in eval mode, all tensors of the context and of the copy float32 on the CPU and without data."""
    with mode or _fake_tensors():
        # Parameters without gradients: torch's counter fails on a view of a parameter that requires one.
        yield _copy_without_data(module).eval().requires_grad_(False)


def _copy_without_data(module: ModuleT) -> ModuleT:
    memo: dict[int, Any] = {}
    for tensor in (*module.parameters(), *module.buffers()):
        dtype = torch.float32 if tensor.is_floating_point() else tensor.dtype
        empty = torch.empty(tensor.shape, dtype=dtype, device="cpu")
        memo[id(tensor)] = nn.Parameter(empty) if isinstance(tensor, nn.Parameter) else empty
    return copy.deepcopy(module, memo)


def params_m(module: nn.Module) -> float:
    """Count the parameters of a module, in millions."""
    return sum(parameter.numel() for parameter in module.parameters()) / 1e6
