"""VidEoMT as a segmentor of key frames, and of every frame of a video."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from jaxtyping import Float, Num
from torch import Tensor, nn
from transformers import PreTrainedModel, VideomtForUniversalSegmentation

from src.models.segmentors.backbones import Statistics
from src.models.segmentors.eomt import EomtSegmentor
from src.structures import MaskPrediction


class VideomtSegmentor(EomtSegmentor):
    """VidEoMT: EoMT without masked attention, whose queries may start from those of the frame before.

    Without ``memory``, an image is the first frame of a video, and each key frame is segmented on its own. Frame by frame, with
    the memory of the prediction before, the numbers equal those of transformers' forward pass of a whole clip. L is that of
    :class:`EomtSegmentor` for mask probabilities of 0: transformers' network has none.
    """

    network_class = VideomtForUniversalSegmentation
    model_type = "videomt"
    option_names = ()
    is_recurrent = True

    def __init__(self, network: VideomtForUniversalSegmentation, **statistics: Statistics) -> None:
        super().__init__(network, mask_probabilities=[0.0] * network.config.num_blocks, **statistics)

    @classmethod
    def adapt(cls, network: PreTrainedModel) -> None:
        """Remove the token of DINOv2's pretraining, which no output depends on."""
        embeddings: Any = network.embeddings
        embeddings.mask_token = None

    def split_images(self) -> None:
        """Raise a ``ValueError``: windows have no memory."""
        raise ValueError("split_images is set for a VidEoMT; expected an EoMT or EoMT-DINOv3")

    def forward(self, image: Num[Tensor, "B 3 H W"], memory: Float[Tensor, "B Q C"] | None = None) -> MaskPrediction:
        """Segment an unpadded image; see the base class.

        Args:
            image: RGB 0..255 of any dtype.
            memory: that of the prediction of the frame before; ``None`` for the first frame of a video.
        """
        padded, size = self.preprocess(image)
        queries = self.network.query.weight[None].expand(len(padded), -1, -1)
        if memory is not None:
            queries = self.network.query_updater(memory) + queries
        layers, after = self.predict_from(padded, queries)
        # A copy, because a view would keep the tokens of the image in the state of a stream.
        return replace(self.as_prediction(layers, padded, size), memory=after.float().clone())

    def unused_parameters(self) -> Iterable[nn.Parameter]:
        """Return the update of the queries unless ``trains_memory``: single frames do not run it."""
        return () if self.trains_memory else self.network.query_updater.parameters()

    def parts(self) -> dict[str, nn.Module]:
        """Return the parts of an EoMT, and ``query_updater``."""
        return {**super().parts(), "query_updater": self.network.query_updater}

    @classmethod
    def saved_options(cls, network: PreTrainedModel) -> dict[str, Any]:
        """Return no option: transformers saves mask probabilities, but its network reads none."""
        return {}
