"""Stochastic depth (arXiv 1603.09382) whose draws can be keyed by sample."""

from __future__ import annotations

from typing import cast

from jaxtyping import Float
from torch import Tensor, nn
from transformers.models.eomt.modeling_eomt import EomtDropPath
from transformers.models.maskformer.modeling_maskformer_swin import MaskFormerDropPath
from transformers.models.swin.modeling_swin import SwinDropPath

from src.models.per_sample_rng import PerSampleRandom

# EoMT's blocks ask twice, after their attention and after their feed-forward network; Swin's after the attention alone.
_CALLS: dict[type[nn.Module], int] = {SwinDropPath: 1, MaskFormerDropPath: 1, EomtDropPath: 2}


class SampleDropPath(nn.Module):
    """Takes the place of transformers' modules: in training a residual branch is left out for some samples of the batch.

    Args:
        drop_prob: probability that a sample goes without the branch.
        calls: see :class:`PerSampleRandom`.
    """

    def __init__(self, drop_prob: float, calls: int = 1) -> None:
        super().__init__()
        self.drop_prob = drop_prob
        self.draws = PerSampleRandom(calls=calls)

    @classmethod
    def install(cls, network: nn.Module) -> None:
        """Put one in the place of each such module of a network, which keeps its state dict."""
        for parent in list(network.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, tuple(_CALLS)):
                    setattr(parent, name, cls(cast(float, child.drop_prob), _CALLS[type(child)]))

    def forward(self, branch: Float[Tensor, "B ..."]) -> Float[Tensor, "B ..."]:
        """The branch (B, ...), zero for the samples that go without and enlarged for the others, so that the mean is kept."""
        if not self.training or self.drop_prob == 0:
            return branch
        keep: Tensor = self.draws(len(branch), branch.device) >= self.drop_prob
        scale = keep.to(branch.dtype) / (1 - self.drop_prob)
        return branch * scale.view(-1, *(1 for _ in branch.shape[1:]))

    def extra_repr(self) -> str:
        """The probability, as transformers shows it."""
        return f"p={self.drop_prob}"
