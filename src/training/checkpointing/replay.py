"""Repetition of a saved step, to find its first value that is not finite."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from lightning import Trainer
from torch import Tensor, nn

from src.training.checkpointing.nonfinite import NonFiniteStep
from src.training.segmentation_module import SegmentationModule

log = logging.getLogger(__name__)


def replay_step(module: SegmentationModule, step: NonFiniteStep, trainer: Trainer) -> dict[str, float]:
    """Repeat a saved step, and log the first module output and all gradients that are not finite.

    Args:
        module: module with the saved weights.
        step: the saved batch.
        trainer: its device and precision are used.

    Returns:
        The loss terms; empty if queries could not be matched because their logits are not finite.
    """
    device = trainer.strategy.root_device
    module.to(device).train()
    batch = trainer.strategy.batch_to_device(step.batch, device)
    log.info("saved because: %s", step.reason)
    module.on_train_batch_start(batch, step.batch_idx)
    try:
        with trainer.precision_plugin.forward_context(), _log_first_nonfinite_output(module.network):
            terms = module.losses(batch)
    except FloatingPointError as error:
        log.error("%s", error)
        return {}
    for name, value in terms.items():
        log.log(logging.INFO if torch.isfinite(value) else logging.ERROR, "loss_%s = %g", name, float(value))
    loss = torch.stack(list(terms.values())).sum()
    if torch.isfinite(loss):
        loss.backward()  # type: ignore[no-untyped-call]
        broken = [name for name, p in module.named_parameters() if p.grad is not None and not torch.isfinite(p.grad).all()]
        for name in broken:
            log.error("the gradient of %s is not finite", name)
        if not broken:
            log.info("loss and gradients are finite on %s with %s", device, trainer.precision)
    return {name: float(value) for name, value in terms.items()}


@contextmanager
def _log_first_nonfinite_output(network: nn.Module) -> Iterator[None]:
    """Log the first module, innermost first, with an output that is not finite."""
    found: list[str] = []

    def check(name: str, output: Any) -> None:
        if found:
            return
        broken = sum(int((~torch.isfinite(value)).sum()) for value in _floats(output))
        if broken:
            found.append(name)
            total = sum(value.numel() for value in _floats(output))
            log.error("%s is the first whose output is not finite: %d of %d values", name, broken, total)

    hooks = [
        part.register_forward_hook(lambda _module, _inputs, output, name=name: check(name, output))
        for name, part in network.named_modules()
        if name
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _floats(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        if output.is_floating_point():
            yield output
    elif isinstance(output, Mapping | list | tuple):
        for value in output.values() if isinstance(output, Mapping) else output:
            yield from _floats(value)
