"""What a training step takes, part by part, and what leaving autograd out of frozen parts saves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from statistics import median

import torch
from torch import Tensor, nn

from src.measure.parts import milliseconds, module_times
from src.structures import PairBatch
from src.training.module import PropagationModule
from src.training.stages import FlowStage

UNCHANGED = "as it is"
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
    ways: dict[str, Callable[[], AbstractContextManager[None]]] = {UNCHANGED: nullcontext}
    # Supervised flow asks the segmentor without autograd, whatever is frozen.
    if frozen and not isinstance(module.stage, FlowStage):
        ways[WITH_AUTOGRAD] = lambda: _learning(frozen)
    taken: dict[str, defaultdict[str, list[float]]] = {way: defaultdict(list) for way in ways}
    for number in range(warmup + repeats):
        for way, context in ways.items():
            with context():
                parts = _step(module, batch, optimizer, autocast, number)
            if number >= warmup:
                for part, ms in parts.items():
                    taken[way][part].append(ms)
    return {way: {part: median(values) for part, values in parts.items()} for way, parts in taken.items()}


def _step(
    module: PropagationModule, batch: PairBatch, optimizer: torch.optim.Optimizer, autocast: torch.dtype | None, number: int
) -> dict[str, float]:
    """Milliseconds of the parts of one step."""
    modules: dict[str, nn.Module] = {"segmentor": module.propagator.segmentor, "flow": module.propagator.flow}
    modules |= {f"losses {name}": child for name, child in module.stage.named_children()}  # type: ignore[attr-defined]
    precision = nullcontext() if autocast is None else torch.autocast(batch.key_image.device.type, dtype=autocast)

    def forward() -> Tensor:
        with precision:
            return torch.stack(list(module.stage.losses(module.propagator, batch).values())).sum()

    def update() -> None:
        optimizer.step()
        optimizer.zero_grad()

    module.on_train_batch_start(batch, number)
    with module_times(modules) as inside:
        forward_ms, loss = milliseconds(forward)
    backward_ms, _ = milliseconds(loss.backward)
    update_ms, _ = milliseconds(update)
    module.on_train_batch_end(None, batch, number)
    losses = sum(ms for name, ms in inside.items() if name.startswith("losses"))
    other = forward_ms - inside["segmentor"] - inside["flow"] - losses
    parts = {"segmentor": inside["segmentor"], "flow": inside["flow"], "losses": losses, "warp and other": other}
    parts |= {"backward": backward_ms, "optimiser": update_ms}
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
