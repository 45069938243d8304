"""Laws of drop path: whole branches per sample, unchanged mean, in every network that has it."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers.models.swin.modeling_swin import SwinDropPath

from src.models.drop_path import SampleDropPath
from src.models.per_sample_rng import clear_per_sample, seed_per_sample
from src.models.segmentors.base import KeyFrameSegmentor
from src.models.segmentors.registry import build_segmentor, load_segmentor
from tests.models.families import FAMILIES, network, picture


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_branch_is_dropped_as_a_whole_and_its_mean_is_unchanged(dtype: torch.dtype) -> None:
    drop = SampleDropPath(0.3)
    branch = torch.ones(4000, 2, 3, dtype=dtype)
    seed_per_sample(drop, 0, torch.arange(4000))
    output = drop(branch)
    assert output.dtype == dtype and output.flatten(1).unique(dim=0).shape[0] == 2
    assert output.float().mean() == pytest.approx(1, abs=0.05)
    assert (output[:, 0, 0] == 0).float().mean() == pytest.approx(0.3, abs=0.03)


def test_it_equals_transformers_for_the_same_numbers() -> None:
    branch = torch.randn(64, 5)
    torch.manual_seed(2)
    theirs = SwinDropPath(0.4)(branch)
    torch.manual_seed(2)
    torch.testing.assert_close(SampleDropPath(0.4)(branch), theirs)


def test_nothing_is_dropped_outside_of_training() -> None:
    branch = torch.randn(8, 5)
    assert SampleDropPath(0.9).eval()(branch) is branch


def dropping(family: str, folder: Path) -> KeyFrameSegmentor:
    """A random network with all of its family's per-sample randomness, but without dropout of single numbers."""
    network(family).save_pretrained(folder)
    config = load_segmentor(str(folder)).config()
    if family == "videomt":
        config["drop_path_rate"] = 0.5
    elif family in ("eomt", "eomt_dinov3"):
        config |= {"drop_path_rate": 0.5, "mask_probabilities": [0.5] * len(config["mask_probabilities"])}
    else:
        config["backbone_config"]["drop_path_rate"] = 0.5
        (config["decoder_config"] if family == "maskformer" else config)["dropout"] = 0.0
    return build_segmentor(config)


@pytest.mark.parametrize("family", FAMILIES)
def test_random_numbers_of_an_image_do_not_depend_on_its_batch(family: str, tmp_path: Path) -> None:
    torch.manual_seed(4)
    segmentor, images = dropping(family, tmp_path), picture(batch=4)

    def masks(rows: list[int]) -> Tensor:
        seed_per_sample(segmentor, 0, 100 + torch.tensor(rows))
        with torch.no_grad():
            return segmentor(images[rows]).mask_logits_per_layer

    together = masks([0, 1, 2, 3])
    torch.testing.assert_close(masks([2, 0]), together[:, [2, 0]], rtol=1e-3, atol=1e-4)
    clear_per_sample(segmentor)
    with torch.no_grad():
        freely = segmentor(images).mask_logits_per_layer
    assert (freely - together).abs().max() > 1e-3, "the law can fail"
