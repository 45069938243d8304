"""Laws of what the project is measured against: the same network as ours, and the same label maps."""

import pytest
import torch

from src.measure.transformers_baseline import TransformersMask2Former, full_size_scores, nonkey_map_by_reference
from src.models.flow import CopyFlow
from src.ops.masks import semantic_scores
from tests.inference.tiny import tiny_propagator


@pytest.fixture(scope="module")
def pair() -> tuple[TransformersMask2Former, torch.nn.Module]:
    segmentor = tiny_propagator("copy").segmentor.eval()
    return TransformersMask2Former(segmentor), segmentor


@pytest.fixture
def image() -> torch.Tensor:
    return torch.randint(0, 256, (1, 3, 60, 90), generator=torch.Generator().manual_seed(3), dtype=torch.uint8)


def test_it_is_our_network_in_modules_of_transformers(pair, image) -> None:
    baseline, segmentor = pair
    with torch.no_grad():
        ours = segmentor(image)
    theirs = baseline.predict(image)
    assert not any(type(module).__module__.startswith("src.") for module in baseline.network.modules())
    torch.testing.assert_close(theirs.mask_logits_per_layer, ours.mask_logits_per_layer, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(theirs.class_logits_per_layer, ours.class_logits_per_layer, atol=1e-4, rtol=1e-4)


def test_the_full_size_scores_are_the_papers(pair, image) -> None:
    prediction = pair[0].predict(image)
    torch.testing.assert_close(full_size_scores(prediction), semantic_scores(prediction))
    assert torch.equal(pair[0].map_at_full_size(image), full_size_scores(prediction).argmax(1))


def test_transformers_own_map_has_the_size_of_the_image(pair, image) -> None:
    semantic = pair[0].map_by_transformers(image)
    assert semantic.shape == (60, 90) and semantic.unique().numel() <= pair[1].num_classes


def test_zero_flow_of_the_published_code_reads_its_shrunken_grid(pair, image) -> None:
    key = pair[0].predict(image)
    moved = nonkey_map_by_reference(key, image, image, CopyFlow())
    same = (moved == pair[0].map_at_full_size(image)).float().mean()
    # Its grid is not the identity, but no pixel moves further than four.
    assert moved.shape == (1, 60, 90) and same > 0.5


def test_the_flow_of_the_published_code_runs_layer_by_layer(pair, image, monkeypatch: pytest.MonkeyPatch) -> None:
    flow = tiny_propagator("query").flow.eval()
    inference: list[bool] = []
    original = type(flow).forward

    def forward(self, *arguments):
        inference.append(torch.is_inference_mode_enabled())
        return original(self, *arguments)

    monkeypatch.setattr(type(flow), "forward", forward)
    key = pair[0].predict(image)
    published, ours = (
        nonkey_map_by_reference(key, image, image.flip(-1), flow, layer_by_layer) for layer_by_layer in (True, False)
    )
    assert inference == [False, True]
    assert (published == ours).float().mean() > 0.999
