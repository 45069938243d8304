"""What a training step takes, part by part, and what leaving autograd out of frozen parts saves."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from statistics import median

import torch
from torch import nn

from src.measure.latency import synchronize
from src.measure.parts import watched
from src.structures import PairBatch
from src.training.module import PropagationModule
from src.training.stages import FlowStage

AS_IT_IS = "as it is"
WITH_AUTOGRAD = "frozen parts with autograd"


def step_times(
    module: PropagationModule, batch: PairBatch, autocast: torch.dtype | None = None, warmup: int = 1, repeats: int = 3
) -> dict[str, dict[str, float]]:
    """Take optimiser steps on one batch, each way in turn, and time their parts.

    Args:
        module: what trains; its weights move.
        batch: on the module's device, as a step gets it.
        autocast: precision of the forward pass; ``None``: that of the weights.
        warmup: untimed steps of each way.
        repeats: timed ones.

    Returns:
        Median milliseconds by way and part. The ways are the step as it is and, where parts of the segmentor are frozen, one in
        which autograd goes through them all the same, as it does where an optimiser is merely not given their weights. The parts
        are ``segmentor``, ``flow``, ``losses``, ``warp and other``, ``backward``, ``optimiser`` and ``step``, their sum.
    """
    unused = {id(parameter) for parameter in module.propagator.unused_parameters()}
    frozen = [p for p in module.propagator.segmentor.parameters() if not p.requires_grad and id(p) not in unused]
    optimizer, _ = module.optim.build(module.propagator, warmup + repeats + 1)
    ways: dict[str, Callable[[], AbstractContextManager[None]]] = {AS_IT_IS: nullcontext}
    # Supervised flow asks the segmentor without autograd, whatever is frozen.
    if frozen and not isinstance(module.stage, FlowStage):
        ways[WITH_AUTOGRAD] = lambda: _learning(frozen)
    taken: dict[str, defaultdict[str, list[float]]] = {way: defaultdict(list) for way in ways}
    for number in range(warmup + repeats):
        for way, context in ways.items():
            with context():
                parts = _step(module, batch, optimizer, autocast, number)
            if number >= warmup:
                for part, milliseconds in parts.items():
                    taken[way][part].append(milliseconds)
    return {way: {part: median(values) for part, values in parts.items()} for way, parts in taken.items()}


def _step(
    module: PropagationModule, batch: PairBatch, optimizer: torch.optim.Optimizer, autocast: torch.dtype | None, number: int
) -> dict[str, float]:
    """Milliseconds of the parts of one step."""
    modules: dict[str, nn.Module] = {"segmentor": module.propagator.segmentor, "flow": module.propagator.flow}
    modules |= {f"losses {name}": child for name, child in module.stage.named_children()}  # type: ignore[attr-defined]
    precision = nullcontext() if autocast is None else torch.autocast(batch.key_image.device.type, dtype=autocast)
    module.on_train_batch_start(batch, number)
    with watched(modules) as inside, _milliseconds() as forward, precision:
        loss = torch.stack(list(module.stage.losses(module.propagator, batch).values())).sum()
    with _milliseconds() as backward:
        loss.backward()  # type: ignore[no-untyped-call]
    with _milliseconds() as update:
        optimizer.step()
        optimizer.zero_grad()
    module.on_train_batch_end(None, batch, number)
    losses = sum(milliseconds for name, milliseconds in inside.items() if name.startswith("losses"))
    other = forward[0] - inside["segmentor"] - inside["flow"] - losses
    parts = {"segmentor": inside["segmentor"], "flow": inside["flow"], "losses": losses, "warp and other": other}
    parts |= {"backward": backward[0], "optimiser": update[0]}
    return {**parts, "step": sum(parts.values())}


@contextmanager
def _learning(parameters: list[nn.Parameter]) -> Iterator[None]:
    """Have autograd go through frozen parameters, and forget what it leaves there."""
    for parameter in parameters:
        parameter.requires_grad_(True)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(False)
            parameter.grad = None


@contextmanager
def _milliseconds() -> Iterator[list[float]]:
    """A list that holds the time inside of the context, once it is over."""
    taken: list[float] = []
    synchronize()
    start = time.perf_counter()
    yield taken
    synchronize()
    taken.append((time.perf_counter() - start) * 1e3)
