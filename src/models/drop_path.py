"""Stochastic depth (arXiv 1603.09382) with random numbers per sample."""

from jaxtyping import Float
from torch import Tensor, nn
from transformers.models.eomt.modeling_eomt import EomtDropPath
from transformers.models.eomt_dinov3.modeling_eomt_dinov3 import EomtDinov3DropPath
from transformers.models.maskformer.modeling_maskformer_swin import MaskFormerDropPath
from transformers.models.segformer.modeling_segformer import SegformerDropPath
from transformers.models.swin.modeling_swin import SwinDropPath
from transformers.models.videomt.modeling_videomt import VideomtDropPath

from src.models.per_sample_rng import PerSampleRandom
from src.models.replacement import replace_modules

# Calls per forward pass: after attention; in blocks of EoMT and SegFormer also after the feed-forward network.
_CALLS: dict[type[nn.Module], int] = {
    SwinDropPath: 1,
    MaskFormerDropPath: 1,
    EomtDropPath: 2,
    EomtDinov3DropPath: 2,
    SegformerDropPath: 2,
    VideomtDropPath: 2,
}


class SampleDropPath(nn.Module):
    """Replacement of transformers' modules: in training, skip a residual branch for some samples of the batch.

    A sample skips it with probability ``drop_prob``; ``calls`` is that of :class:`PerSampleRandom`.
    """

    def __init__(self, drop_prob: float, calls: int = 1) -> None:
        super().__init__()
        self.drop_prob = drop_prob
        self.random = PerSampleRandom(calls=calls)

    @classmethod
    def install(cls, network: nn.Module) -> None:
        """Replace each such module of a network; its state dict is unchanged."""
        replace_modules(network, tuple(_CALLS), lambda module: cls(module.drop_prob, _CALLS[type(module)]))

    def forward(self, branch: Float[Tensor, "B ..."]) -> Float[Tensor, "B ..."]:
        """Set the branch to zero for samples that skip it and scale it for the others, so that its mean is unchanged."""
        if not self.training or self.drop_prob == 0:
            return branch
        keep: Tensor = self.random(len(branch), branch.device) >= self.drop_prob
        scale = keep.to(branch.dtype) / (1 - self.drop_prob)
        return branch * scale.view(-1, *(1 for _ in branch.shape[1:]))

    def extra_repr(self) -> str:
        """Return the probability in transformers' format."""
        return f"p={self.drop_prob}"
