"""Laws of confidence pictures: one scale for all maps, beside the map."""

import torch

from src.visualization.confidence import confidence_picture


def test_colors_depend_on_the_value_only() -> None:
    ramp = torch.linspace(0, 1, 96).expand(80, 96)
    flat = torch.full((80, 96), 0.5)
    one, other = confidence_picture(ramp), confidence_picture(flat)
    assert one.shape == other.shape and one.shape[1] == 80 and one.shape[2] > 96 and one.dtype == torch.uint8
    assert torch.equal(one[..., 96:], other[..., 96:]), "the scale"
    assert (one[:, 0, 48].int() - other[:, 0, 48].int()).abs().max() <= 4
    assert one[:, 0, 0].tolist() == [68, 1, 84] and one[:, 0, 95].tolist() == [253, 231, 37]
    assert len(other[:, :, :96].flatten(1).unique(dim=1).T) == 1


def test_the_scale_runs_from_one_at_the_top_to_zero() -> None:
    scale = confidence_picture(torch.zeros(240, 10))[..., 10:]
    yellow, violet = (
        (scale.int() - torch.tensor(color)[:, None, None]).abs().sum(0) < 9 for color in ((253, 231, 36), (68, 1, 84))
    )
    assert yellow.any() and violet.any()
    assert yellow.nonzero()[:, 0].max() < violet.nonzero()[:, 0].min()


def test_values_outside_are_clamped_and_small_maps_have_no_scale() -> None:
    picture = confidence_picture(torch.tensor([[-1.0, 2.0], [0.0, 1.0]]))
    assert picture.shape == (3, 2, 2) and torch.equal(picture[:, 0], picture[:, 1])
