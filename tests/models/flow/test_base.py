import pytest
import torch

from src.models.flow.base import FlowEstimator, check_pair


def test_an_estimator_without_forward_cannot_be_built() -> None:
    with pytest.raises(TypeError, match="abstract"):
        FlowEstimator()  # type: ignore[abstract]


@pytest.mark.parametrize("shapes", [((1, 3, 8, 8), (1, 3, 8, 9)), ((1, 1, 8, 8), (1, 1, 8, 8)), ((3, 8, 8), (3, 8, 8))])
def test_unequal_or_colorless_images_are_refused(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match="expected two equal"):
        check_pair(torch.zeros(shapes[0]), torch.zeros(shapes[1]))
