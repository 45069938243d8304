"""Time of a training step by part, with and without autograd through frozen parts."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from statistics import median

import torch
from torch import Tensor, nn

from src.data.samples import PairBatch
from src.measure.parts import module_times
from src.ops.device import milliseconds
from src.training.module import PropagationModule
from src.training.stages import FlowStage

CONFIGURED = "configured"
WITH_AUTOGRAD = "frozen parts with autograd"


def step_times(
    module: PropagationModule, batch: PairBatch, autocast: torch.dtype | None = None, warmup: int = 1, repeats: int = 3
) -> dict[str, dict[str, float]]:
    """Take optimizer steps on one batch, each variant in turn, and time their parts.

    Args:
        module: the module to train; its weights change.
        batch: batch on the module's device.
        autocast: precision of the forward pass; ``None`` for the precision of the weights.
        warmup: untimed steps of each variant.
        repeats: timed steps of each variant.

    Returns:
        Median milliseconds by variant and part. One variant is the configured step. If parts of the segmentor are frozen, the
        other variant runs autograd through these parts, as an optimizer that merely lacks their weights would. The parts are
        ``segmentor``, ``flow``, ``losses``, ``warp and other``, ``backward``, ``optimizer`` and ``step``, their sum.
    """
    unused = {id(parameter) for parameter in module.propagator.unused_parameters()}
    frozen = [p for p in module.propagator.segmentor.parameters() if not p.requires_grad and id(p) not in unused]
    optimizer, _ = module.optim.build(module.propagator, warmup + repeats + 1)
    variants: dict[str, Callable[[], AbstractContextManager[None]]] = {CONFIGURED: nullcontext}
    # Supervised flow runs the segmentor without autograd in any case.
    if frozen and not isinstance(module.stage, FlowStage):
        variants[WITH_AUTOGRAD] = lambda: _with_gradients(frozen)
    taken: dict[str, defaultdict[str, list[float]]] = {variant: defaultdict(list) for variant in variants}
    for number in range(warmup + repeats):
        for variant, context in variants.items():
            with context():
                parts = _step(module, batch, optimizer, autocast, number)
            if number >= warmup:
                for part, ms in parts.items():
                    taken[variant][part].append(ms)
    return {variant: {part: median(values) for part, values in parts.items()} for variant, parts in taken.items()}


def _step(
    module: PropagationModule, batch: PairBatch, optimizer: torch.optim.Optimizer, autocast: torch.dtype | None, number: int
) -> dict[str, float]:
    """Take one step and return the milliseconds of its parts."""
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
    parts |= {"backward": backward_ms, "optimizer": update_ms}
    return {**parts, "step": sum(parts.values())}


@contextmanager
def _with_gradients(parameters: list[nn.Parameter]) -> Iterator[None]:
    """Run autograd through frozen parameters, and delete their gradients afterwards."""
    for parameter in parameters:
        parameter.requires_grad_(True)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(False)
            parameter.grad = None
