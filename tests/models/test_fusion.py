import torch

from src.models.fusion import Source, fuse, photometric_error
from src.structures import MaskPrediction


def prediction(batch: int = 2) -> MaskPrediction:
    return MaskPrediction(
        torch.randn(1, batch, 3, 5), torch.randn(1, batch, 3, 4, 6), torch.randn(batch, 3, 7), (16, 24), (16, 24)
    )


def test_distances_of_a_batch_are_those_of_its_samples() -> None:
    trust = torch.rand(2, 2, 16, 24)
    predictions = prediction(), prediction()
    days = ((2, 3), (1, 4))
    together = fuse([Source(p, torch.tensor(d), t) for p, d, t in zip(predictions, days, trust, strict=True)], "learned")
    assert together.shares is not None
    for row in range(2):
        alone = fuse([Source(p, d[row], t) for p, d, t in zip(predictions, days, trust, strict=True)], "photometric")
        assert alone.shares is not None
        torch.testing.assert_close(together.shares[row], alone.shares[row])


def test_the_own_prediction_weighs_its_confidence() -> None:
    ones = torch.ones(2, 16, 24)
    first, second = (
        fuse([Source(prediction(), 4, ones), Source(prediction(), 0, own * ones)], "learned").shares for own in (1.0, 3.0)
    )
    assert first is not None and second is not None
    odds = [(shares[:, 1] / shares[:, 0]).mean() for shares in (first, second)]
    torch.testing.assert_close(odds[1] / odds[0], torch.tensor(3.0))


def test_the_photometric_error_follows_the_flow() -> None:
    key = torch.randint(0, 256, (1, 3, 20, 30), dtype=torch.uint8)
    image = torch.roll(key, 3, -1)
    flow = torch.zeros(1, 2, 20, 30)
    flow[:, 0] = -3
    assert photometric_error(image, key, flow)[..., 3:].max() == 0
    torch.testing.assert_close(photometric_error(key, 255 - key, 0 * flow), (key.float() * 2 - 255).abs().mean(1) / 10)
