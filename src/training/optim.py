"""AdamW with parameter groups and a polynomial decay of the learning rate, as in the paper."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from src.models.freezing import PartlyFrozen
from src.training.strategies import full_tensor

_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)


@dataclass(frozen=True)
class AdamWPoly:
    """Optimizer settings; the defaults are the published recipe's.

    Attributes:
        lr: base learning rate.
        weight_decay: weight decay of all parameters except norms, embeddings and relative-position tables.
        backbone_factor: learning rate of ``segmentor.backbone`` relative to ``lr``; of clip segmentors, ``backbone``.
        power: exponent of the polynomial decay from ``lr`` to 0.
        warmup_steps: optimizer steps of linear warm-up.
    """

    lr: float = 5e-5
    weight_decay: float = 0.05
    backbone_factor: float = 0.1
    power: float = 0.9
    warmup_steps: int = 0

    def build(self, model: PartlyFrozen, max_steps: int) -> tuple[AdamW, LambdaLR]:
        """Build the optimizer and per-step schedule over the trainable parameters of ``model``; none is an error."""
        parts = model.parts()
        encoder = parts["segmentor.backbone" if "segmentor.backbone" in parts else "backbone"]
        backbone = {id(p) for p in encoder.parameters()}
        undecayed = self._undecayed(model, encoder)
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        for parameter in model.parameters():
            if parameter.requires_grad:
                lr = self.lr * (self.backbone_factor if id(parameter) in backbone else 1.0)
                decay = 0.0 if id(parameter) in undecayed else self.weight_decay
                groups.setdefault((lr, decay), []).append(parameter)
        if not groups:
            raise ValueError("no parameter is trainable; name at least one part in stage.objective.trainable")
        optimizer = AdamW([{"params": p, "lr": lr, "weight_decay": decay} for (lr, decay), p in groups.items()], lr=self.lr)

        def factor(step: int) -> float:
            return float(self._warmth(step) * max(0.0, 1.0 - step / max_steps) ** self.power)

        return optimizer, LambdaLR(optimizer, factor)

    def _warmth(self, step: int) -> float:
        """Return the factor of the warm-up."""
        return min(1.0, (step + 1) / (self.warmup_steps + 1))

    def _undecayed(self, model: nn.Module, encoder: nn.Module) -> set[int]:
        """Return the ids of the parameters without weight decay."""
        return _undecayed_parameters(model)


@dataclass(frozen=True)
class ClipAdamW(AdamWPoly):
    """AdamW of the published clip segmentors: weight decay of all of the head, and a given start of the warm-up.

    Attributes:
        warmup_start: learning rate of the first step relative to that without warm-up.
    """

    warmup_start: float = 1e-6

    def _warmth(self, step: int) -> float:
        return 1.0 if step >= self.warmup_steps else 1 - (1 - step / self.warmup_steps) * (1 - self.warmup_start)

    def _undecayed(self, model: nn.Module, encoder: nn.Module) -> set[int]:
        return _undecayed_parameters(encoder)


def take_settings(optimizer: Optimizer, schedule: LambdaLR, fresh: Optimizer) -> None:
    """Give a restored optimizer and its schedule the learning rates and decays of a fresh one; moments and step stay."""
    for group, new in zip(optimizer.param_groups, fresh.param_groups, strict=True):
        group |= {name: new[name] for name in ("initial_lr", "weight_decay")}
        group["lr"] = group["initial_lr"] * schedule.lr_lambdas[0](schedule.last_epoch)
    schedule.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]


def _undecayed_parameters(model: nn.Module) -> set[int]:
    """Return the ids of norm parameters, embeddings and relative-position tables."""
    undecayed: set[int] = set()
    for module in model.modules():
        if isinstance(module, (*_NORMS, nn.Embedding)):
            undecayed.update(id(p) for p in module.parameters(recurse=False))
    for name, parameter in model.named_parameters():
        if "relative_position" in name or "level_embed" in name:
            undecayed.add(id(parameter))
    return undecayed


def gradient_norm(model: nn.Module) -> torch.Tensor:
    """Compute the 2-norm of all gradients."""
    norms = [full_tensor(p.grad.detach().float().norm()) for p in model.parameters() if p.grad is not None]
    return torch.stack(norms).norm() if norms else torch.zeros(())
