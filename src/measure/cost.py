"""GFLOPs and parameters of a propagator, counted on tensors without data."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv

from src.measure.counting import count_multiply_adds
from src.models.flow.base import FlowEstimator
from src.models.fusion import FusionRule, Source, fuse
from src.models.propagator import Propagator
from src.ops.masks import semantic_scores
from src.structures import FlowPrediction, Size

ModuleT = TypeVar("ModuleT", bound=nn.Module)


@dataclass(frozen=True)
class FusionCost:
    """GFLOPs of fused frames.

    Attributes:
        carry: flow, warp and confidence of one key frame whose masks are carried.
        carry_on: flow and warps of a key frame that is fused with the one before, on a non-key frame.
        post: number of carried predictions, and whether the own one is fused with them -> from masks to class scores.
    """

    carry: float
    carry_on: float
    post: Mapping[tuple[int, bool], float]


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
        fused: cost of fused frames for each counted rule.
    """

    key: float
    propagate: float
    post: float
    params_m: Mapping[str, float]
    fused: Mapping[FusionRule, FusionCost] = field(default_factory=dict)

    def average(self, key_interval: int) -> float:
        """Average the GFLOPs per frame over a key interval; at interval 1: segmentor and post-processing."""
        if key_interval < 1:
            raise ValueError(f"key_interval is {key_interval}; expected at least 1")
        return (self.key + (key_interval - 1) * self.propagate) / key_interval + self.post

    @property
    def by_kind(self) -> dict[str, float]:
        """GFLOPs per frame of key and other frames, and averaged over key intervals of 5 and 10 frames, by name."""
        frames = {"key frame": self.key + self.post, "other frame": self.propagate + self.post}
        return frames | {f"average at key interval {k}": self.average(k) for k in (5, 10)}

    def frame(self, is_key: bool, flows: int, rule: FusionRule | None = None, sources: int | None = None) -> float:
        """Add up the GFLOPs of a frame.

        Args:
            is_key: whether it is segmented.
            flows: number of key frames from which masks are carried to it.
            rule: rule that fuses them, one of ``fused``; not read for one source.
            sources: number of predictions that are fused; more than the flows and its own, the default, if a fused key frame is
                carried on.
        """
        network, sources = self.key if is_key else 0.0, flows + is_key if sources is None else sources
        if rule is None or sources == 1:
            return network + flows * self.propagate + self.post
        fused = self.fused[rule]
        carried = fused.carry_on if sources > flows + is_key else flows * fused.carry
        return network + carried + fused.post[sources - is_key, is_key]


def frame_cost(propagator: Propagator, size: Size, rules: Sequence[FusionRule] = ()) -> FrameCost:
    """Count the GFLOPs of a key frame, a propagated frame and the post-processing of a frame.

    The counts reproduce the paper's twelve GFLOPs figures (arXiv 2310.18954: six backbones, two sizes, key interval 5) within
    0.2 %.

    A copy runs on tensors with shapes but no data, so that counting takes seconds on any machine and does not depend on device,
    precision or compilation. An estimator without parameters runs on two black images, since it may read pixels; only the work
    of torch is counted: 0 for ``copy``, the resizing of the flow but not OpenCV's work for ``dis``.

    Args:
        propagator: propagator of any segmentor and flow estimator; not changed.
        size: (H, W) of the network's input, before padding.
        rules: rules whose fused frames are counted; of ``consistency``, also the second flow of each key frame.
    """
    fake = _fake_tensors()
    with without_data(propagator, fake) as shadow:
        image = torch.empty(1, 3, *size, device="cpu")
        before = (shadow.segmentor(image).memory,) if propagator.recurrent else ()
        key, key_count = count_multiply_adds(lambda: shadow.segmentor(image, *before))
        key = key.final_layer()
        features, encode_count = count_multiply_adds(lambda: shadow.flow.encode_key(image))
    flow_count = 0
    if propagator.flow.training_free:
        black = torch.zeros(1, 3, *size, device="cpu")
        queries = torch.zeros(key.queries.shape, device="cpu")
        flow, flow_count = count_multiply_adds(lambda: propagator.flow(black, black, queries))
        shadow.flow = _FixedFlow(flow, shadow.flow)
    with fake:
        (propagated, moved), propagate_count = count_multiply_adds(lambda: shadow.propagate(key, image, image, features))
        _, post_count = count_multiply_adds(lambda: semantic_scores(key))
        _, disocclusion_count = count_multiply_adds(lambda: semantic_scores(propagated))
        fused = {}
        for rule in rules:
            trust, trust_count = count_multiply_adds(partial(shadow.confidence, rule, key, image, propagated, image, moved))
            flows = (1 + (rule == "consistency")) * flow_count
            carried, own = Source(propagated, 1, trust), Source(key, 0, torch.ones_like(trust))
            kinds = {(2, False): [carried] * 2, (1, True): [carried, own], (2, True): [carried, own, carried]}
            predictions = {kind: fuse(sources, rule) for kind, sources in kinds.items()}
            two = predictions[1, True]
            on_count = 0
            if two.shares is not None:
                on_count = count_multiply_adds(partial(shadow.propagate_fused, two, propagated, moved))[1]
            fused[rule] = FusionCost(
                carry=(flows + propagate_count + trust_count) / 1e9,
                carry_on=(flow_count + propagate_count + on_count) / 1e9,
                post={kind: count_multiply_adds(partial(semantic_scores, one))[1] / 1e9 for kind, one in predictions.items()},
            )
    return FrameCost(
        key=(key_count + encode_count) / 1e9,
        propagate=(flow_count + propagate_count + disocclusion_count - post_count) / 1e9,
        post=post_count / 1e9,
        params_m={name: params_m(getattr(propagator, name)) for name in ("segmentor", "flow")},
        fused=fused,
    )


class _FixedFlow(FlowEstimator):
    """Replacement of an estimator by its result; the fusion head stays."""

    def __init__(self, flow: FlowPrediction, estimator: FlowEstimator) -> None:
        super().__init__()
        self.flow = flow
        self.fusion = estimator.fusion

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
