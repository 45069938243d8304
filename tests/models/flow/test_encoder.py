from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from src.models.cpu.wide_convolution import WideConvolution
from src.models.flow import encoder as module
from src.models.flow.encoder import FlowEncoder, ImagePreparation

MEAN = (0.411, 0.432, 0.450)


def test_the_mean_color_becomes_zero_like_padding() -> None:
    image = 255 * torch.tensor(MEAN).view(1, 3, 1, 1).expand(1, 3, 40, 50)
    assert ImagePreparation(MEAN, 32)(image, image).abs().max() < 1e-6


def test_images_are_stacked_and_halved_bilinearly(texture: Callable[[int, int], Tensor]) -> None:
    key, nonkey = texture(64, 96)[None], texture(64, 96)[None]
    prepared = ImagePreparation(MEAN, 32)(nonkey, key)
    for part, image in ((prepared[:, :3], nonkey), (prepared[:, 3:], key)):
        expected = F.interpolate(image / 255 - torch.tensor(MEAN).view(3, 1, 1), scale_factor=0.5, mode="bilinear")
        torch.testing.assert_close(part, expected, atol=1e-6, rtol=0)


def test_padding_is_zero(texture: Callable[[int, int], Tensor]) -> None:
    prepared = ImagePreparation(MEAN, 32)(texture(40, 70)[None], texture(40, 70)[None])
    assert prepared.shape == (1, 6, 32, 48)
    assert prepared[..., 20:, :].abs().max() == 0
    assert prepared[..., 35:].abs().max() == 0


def test_bytes_and_floats_are_prepared_alike() -> None:
    prepare = ImagePreparation(MEAN, 32)
    key, nonkey = (torch.randint(0, 256, (2, 3, 30, 40), dtype=torch.uint8) for _ in range(2))
    assert torch.equal(prepare(key, nonkey), prepare(key.float(), nonkey.float()))


def test_a_size_divisor_that_is_no_multiple_of_eight_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 8"):
        ImagePreparation(MEAN, 20)


def test_default_widths_have_the_papers_size_and_strides() -> None:
    with torch.device("meta"):
        encoder = FlowEncoder()
        features = encoder(torch.empty(1, 6, 240, 432))
    assert sum(p.numel() for p in encoder.parameters()) == 24_050_752
    assert [tuple(f.shape[1:]) for f in features] == [(1024, 4, 7), (512, 8, 14), (512, 15, 27), (256, 30, 54), (128, 60, 108)]


def test_moving_the_input_by_one_stride_moves_the_features() -> None:
    encoder = FlowEncoder((4, 6, 8, 8, 8, 8))
    pair = torch.zeros(1, 6, 128, 128)
    pair[..., 56:72, 40:56] = torch.randn(6, 16, 16)
    before, after = encoder(pair)[-1], encoder(pair.roll(8, dims=-1))[-1]
    torch.testing.assert_close(before[..., 4:-4, 4:-8], after[..., 4:-4, 6:-6])
    assert before.abs().max() > 0.1


def test_the_signal_neither_dies_nor_explodes_through_untrained_stages() -> None:
    features = FlowEncoder()(torch.randn(1, 6, 256, 256))
    assert all(0.3 < feature.std() < 3 for feature in features)


def test_winograd_convolutions_of_inference_give_the_same_features(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = FlowEncoder((4, 6, 8, 8, 8, 8))
    monkeypatch.setattr(module, "_MANY_CHANNELS", 8)
    ours = FlowEncoder((4, 6, 8, 8, 8, 8))
    ours.load_state_dict(plain.state_dict())
    assert sum(isinstance(layer, WideConvolution) for layer in ours.modules()) == 7
    pair = torch.randn(2, 6, 192, 320)
    expected = plain(pair)
    with torch.inference_mode():
        found = ours(pair)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_a_missing_width_is_refused() -> None:
    with pytest.raises(ValueError, match="6 widths"):
        FlowEncoder((8, 8, 8))
