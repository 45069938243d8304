"""Laws of the base class: a configuration rebuilds its estimator, and only equal images are compared."""

import json

import pytest
import torch
from omegaconf import OmegaConf

from src.models.flow import FLOW_ESTIMATORS
from src.models.flow.base import check_pair
from tests.inference.tiny import tiny_flow


@pytest.mark.parametrize("name", sorted(FLOW_ESTIMATORS.keys() - {"raft"}))
def test_a_configuration_that_went_through_files_rebuilds_the_estimator(name: str) -> None:
    flow = tiny_flow(name)
    config = json.loads(json.dumps(flow.config()))
    for saved in (config, OmegaConf.create(config)):
        again = type(flow)(**saved)
        assert again.config() == flow.config()
        again.load_state_dict(flow.state_dict())
    images = torch.randint(0, 256, (2, 1, 3, 40, 56), dtype=torch.uint8)
    queries = torch.rand(1, 6, 32)
    with torch.no_grad():
        assert torch.equal(again(*images, queries).segment_flow, flow(*images, queries).segment_flow)


@pytest.mark.parametrize("shapes", [((1, 3, 8, 8), (1, 3, 8, 9)), ((1, 1, 8, 8), (1, 1, 8, 8)), ((3, 8, 8), (3, 8, 8))])
def test_unequal_or_colorless_images_are_refused(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match="expected two equal"):
        check_pair(torch.zeros(shapes[0]), torch.zeros(shapes[1]), 32)
