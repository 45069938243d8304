"""MRCFA (arXiv 2207.10436): affinities between a frame and three frames before it, on a mix transformer."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Num
from torch import Tensor, nn

from src.models.clip_segmentors.affinity import (
    SCORED_PIXELS,
    Affinities,
    AffinityRefinement,
    Refinement,
    select_affinities,
    take_tokens,
)
from src.models.clip_segmentors.base import ClipSegmentor, ClipTrainingOutputs
from src.models.clip_segmentors.mit import MixTransformer

_DROPOUT = 0.1
# References of the frames 3 to 8 of a video in the published code; the frames 0 to 2 are predicted by themselves.
_FIRST_REFERENCES = {3: (0, 1, 2), 4: (0, 2, 3), 5: (0, 2, 4), 6: (0, 2, 4), 7: (0, 3, 5), 8: (0, 3, 6)}


class MrcfaFrame(NamedTuple):
    """Encoded frame: the fused map (B, E, h, w) at 1/4 of the image and the encoder's maps at 1/8, 1/16 and 1/32."""

    fused: Float[Tensor, "B E h w"]
    at8: Float[Tensor, "B _ _ _"]
    at16: Float[Tensor, "B _ _ _"]
    at32: Float[Tensor, "B _ _ _"]


class MrcfaReference(NamedTuple):
    """Tokens of a reference frame on the grid of 1/32, N = H W / 1024: keys of three scales, and values."""

    keys32: Float[Tensor, "B N _"]
    keys16: Float[Tensor, "B N _"]
    keys8: Float[Tensor, "B N _"]
    values: Float[Tensor, "B N E"]


class MrcfaSegmentor(ClipSegmentor[MrcfaFrame, MrcfaReference]):
    """Mix transformer, SegFormer's decoder, and a head that reads three reference frames by their affinities.

    Args:
        num_classes: K.
        widths: channels of the encoder's stages; MiT-B0 has (32, 64, 160, 256), B1 to B5 have (64, 128, 320, 512).
        depths: blocks of the encoder's stages: (2, 2, 2, 2) in MiT-B0 and B1, (3, 4, 6, 3) in B2, (3, 6, 40, 3) in B5.
        embed_dim: E, width of the decoder; 256 in all published models.
        kept_share: share of the tokens of each reference that is read: 0.8 with MiT-B0, else 0.5.
        refinement: ``deep`` with MiT-B1, else ``shallow``.
        drop_path_rate: of the encoder.
        weights: encoder's weights, see :class:`MixTransformer`; not part of :meth:`config`.
    """

    model_type = "mrcfa"
    reference_offsets = (-9, -6, -3)
    published_sides = (480, 853)

    def __init__(
        self,
        num_classes: int,
        widths: Sequence[int] = (64, 128, 320, 512),
        depths: Sequence[int] = (2, 2, 2, 2),
        embed_dim: int = 256,
        kept_share: float = 0.5,
        refinement: Refinement = "shallow",
        drop_path_rate: float = 0.1,
        weights: str | None = None,
    ) -> None:
        super().__init__(num_classes)
        if not 0 < kept_share <= 1:
            raise ValueError(f"kept_share is {kept_share}; expected more than 0, at most 1")
        self.arguments = {
            "num_classes": num_classes, "widths": list(widths), "depths": list(depths), "embed_dim": embed_dim,
            "kept_share": kept_share, "refinement": refinement, "drop_path_rate": drop_path_rate,
        }  # fmt: skip
        self.kept_share = kept_share
        self.encoder = MixTransformer(widths, depths, drop_path_rate, weights)
        self.head = _Head(num_classes, widths, embed_dim, refinement)

    def encode(self, image: Num[Tensor, "B 3 H W"]) -> MrcfaFrame:
        """Encode frames; see the base class."""
        normalized = self.normalize(image)
        pixels = normalized.shape[-2] * normalized.shape[-1] // self.size_divisor**2
        if pixels < SCORED_PIXELS or int(pixels * self.kept_share) < 1:
            raise ValueError(
                f"frame of {image.shape[-2]}x{image.shape[-1]} has {pixels} tokens of {self.size_divisor}x{self.size_divisor} "
                f"pixels; expected at least {SCORED_PIXELS}, the pixels that MRCFA scores a token by"
            )
        maps = self.encoder(normalized)
        return MrcfaFrame(self.head.fuse_maps(maps), *maps[1:])

    def as_reference(self, features: MrcfaFrame) -> MrcfaReference:
        """Return the tokens of a frame; see the base class."""
        return self.head.reference(features)

    def affinities(self, target: MrcfaFrame, references: Sequence[MrcfaReference]) -> Affinities:
        """Return the affinities of the selected tokens of the references with the target."""
        return self.head.affinities(target, [torch.stack(part, dim=1) for part in zip(*references, strict=True)], self.kept_share)

    def predict(self, target: MrcfaFrame, references: Sequence[MrcfaReference]) -> Float[Tensor, "B K h w"]:
        """Predict from three references; see the base class."""
        return self.head.clip_logits(target, self._aggregate(target, references).mean(1)).float()

    def predict_alone(self, target: MrcfaFrame) -> Float[Tensor, "B K h w"]:
        """Predict by SegFormer's decoder; see the base class."""
        logits: Tensor = self.head.frame_classifier(target.fused)
        return logits.float()

    def training_outputs(self, frames: Num[Tensor, "B T 3 H W"]) -> ClipTrainingOutputs:
        """Run clips of four frames; see the base class. The clip's first three predictions read one reference each."""
        batch, length = frames.shape[:2]
        if length != len(self.reference_offsets) + 1:
            raise ValueError(f"clips have {length} frames; expected {len(self.reference_offsets) + 1}")
        encoded = self.encode(frames.flatten(0, 1))
        frame_logits = self.predict_alone(encoded)
        maps = [part.view(batch, length, *part.shape[1:]) for part in encoded]
        references = [self.as_reference(MrcfaFrame(*(part[:, t] for part in maps))) for t in range(length - 1)]
        target = MrcfaFrame(*(part[:, -1] for part in maps))
        read = self._aggregate(target, references)
        single = [self.head.single_logits(read[:, r], r) for r in range(length - 1)]
        clip_logits = torch.stack([*single, self.head.clip_logits(target, read.mean(1))], dim=1)
        return ClipTrainingOutputs(frame_logits.view(batch, length, *frame_logits.shape[1:]), clip_logits.float())

    def _aggregate(self, target: MrcfaFrame, references: Sequence[MrcfaReference]) -> Float[Tensor, "B R E h w"]:
        """Read the values of each reference at every pixel of 1/8 by the refined affinities."""
        affinities = self.affinities(target, references)
        values = take_tokens(torch.stack([reference.values for reference in references], dim=1), affinities.kept)
        return self.head.read_values(affinities, values)

    def parts(self) -> dict[str, nn.Module]:
        """Return ``backbone`` and ``head``: disjoint, complete."""
        return {"backbone": self.encoder, "head": self.head}

    def training_only_parameters(self) -> list[nn.Parameter]:
        """Return the classifiers of single references."""
        return list(self.head.clip_classifiers[:-1].parameters())

    def config(self) -> dict[str, Any]:
        """Return the architecture; see the base class."""
        return {"model_type": self.model_type, **self.arguments}

    def first_references(self, index: int) -> tuple[int, ...]:
        """Return the published references of the frames 0 to 8."""
        return _FIRST_REFERENCES.get(index, ())


class _Head(nn.Module):
    """SegFormer's decoder and the modules that read references."""

    def __init__(self, num_classes: int, widths: Sequence[int], embed_dim: int, refinement: Refinement) -> None:
        super().__init__()
        coarse_first = widths[:0:-1]
        self.embeddings = nn.ModuleList(nn.Linear(width, embed_dim) for width in widths)
        fuse = nn.Conv2d(len(widths) * embed_dim, embed_dim, 1, bias=False)
        nn.init.kaiming_normal_(fuse.weight, mode="fan_out", nonlinearity="relu")
        self.fuse = nn.Sequential(fuse, nn.BatchNorm2d(embed_dim), nn.ReLU())
        self.frame_classifier = _classifier(embed_dim, num_classes)
        # One for each reference by itself, which only training reads, and one for all of them.
        self.clip_classifiers = nn.ModuleList(_classifier(embed_dim, num_classes) for _ in range(4))
        # Lists of 1/32, 1/16 and 1/8; references are brought to the grid of 1/32.
        self.target_projections = nn.ModuleList(nn.Linear(width, width) for width in coarse_first)
        self.key_projections = nn.ModuleList(nn.Linear(width, width) for width in coarse_first)
        self.key_reductions = nn.ModuleList(
            nn.Identity() if stride == 1 else nn.Conv2d(width, width, stride, stride)
            for width, stride in zip(coarse_first, (1, 2, 4), strict=True)
        )
        self.value_reduction = nn.Conv2d(embed_dim, embed_dim, 4, 4)
        self.refinement = AffinityRefinement(refinement)

    def fuse_maps(self, maps: Sequence[Float[Tensor, "B _ _ _"]]) -> Float[Tensor, "B E h w"]:
        """Embed the maps of all stages and fuse them at 1/4."""
        size = maps[0].shape[-2:]
        embedded = [_resize(_linear(layer, x), size) for layer, x in zip(self.embeddings, maps, strict=True)]
        fused: Tensor = self.fuse(torch.cat(embedded[::-1], dim=1))
        return fused

    def reference(self, frame: MrcfaFrame) -> MrcfaReference:
        """Compute the tokens of a reference frame."""
        coarse_first = (frame.at32, frame.at16, frame.at8)
        reduced = [reduce(x) for reduce, x in zip(self.key_reductions, coarse_first, strict=True)]
        keys = [_linear(layer, x) for layer, x in zip(self.key_projections, reduced, strict=True)]
        values = self.value_reduction(_at_eighth(frame))
        return MrcfaReference(*(x.flatten(2).transpose(1, 2) for x in (*keys, values)))

    def affinities(self, target: MrcfaFrame, references: Sequence[Float[Tensor, "B R N _"]], kept_share: float) -> Affinities:
        """Select tokens and compute their affinities; ``references`` are stacked references."""
        coarse_first = (target.at32, target.at16, target.at8)
        maps = [_linear(layer, x) for layer, x in zip(self.target_projections, coarse_first, strict=True)]
        return select_affinities(maps, references[:3], kept_share)

    def attention(self, affinities: Affinities) -> Float[Tensor, "B R s M"]:
        """Return the weights of the selected tokens of each reference at each of M pixels of 1/8."""
        refined: Tensor = self.refinement(affinities.scales)
        return refined.flatten(3).softmax(dim=2)

    def read_values(self, affinities: Affinities, values: Float[Tensor, "B R s E"]) -> Float[Tensor, "B R E h w"]:
        """Average the values of each reference's selected tokens at every pixel of 1/8."""
        read = torch.einsum("brsm,brse->brem", self.attention(affinities), values)
        return read.view(*read.shape[:3], *affinities.scales[-1].shape[-2:])

    def single_logits(self, read: Float[Tensor, "B E _ _"], reference: int) -> Float[Tensor, "B K h w"]:
        """Predict from one reference only, for its loss in training."""
        return _twice(self.clip_classifiers[reference](read))

    def clip_logits(self, target: MrcfaFrame, read: Float[Tensor, "B E _ _"]) -> Float[Tensor, "B K h w"]:
        """Predict from the target and the mean of its references."""
        return _twice(self.clip_classifiers[-1](read + _at_eighth(target)))


def _classifier(embed_dim: int, num_classes: int) -> nn.Sequential:
    return nn.Sequential(nn.Dropout2d(_DROPOUT), nn.Conv2d(embed_dim, num_classes, 1))


def _linear(layer: nn.Module, x: Float[Tensor, "B _ h w"]) -> Float[Tensor, "B _ h w"]:
    """Apply a linear layer to every pixel."""
    result: Tensor = layer(x.flatten(2).transpose(1, 2)).transpose(1, 2)
    return result.reshape(*result.shape[:2], *x.shape[-2:])


def _at_eighth(frame: MrcfaFrame) -> Float[Tensor, "B E h w"]:
    return _resize(frame.fused, frame.at8.shape[-2:])


def _twice(x: Float[Tensor, "B K _ _"]) -> Float[Tensor, "B K _ _"]:
    return _resize(x, (2 * x.shape[-2], 2 * x.shape[-1]))


def _resize(x: Float[Tensor, "B C _ _"], size: Sequence[int]) -> Float[Tensor, "B C h w"]:
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)
