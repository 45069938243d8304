"""Law: the classes of the largest scores at any size, without the scores of all pixels at once."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from src.models.fusion import Source, fuse
from src.ops.label_map import cells
from src.ops.label_map.label_map import label_map
from src.ops.masks import best_class, semantic_map, semantic_scores
from src.ops.padding import pad_to
from src.ops.warp import resize_flow, warp_segments
from src.structures import IGNORE_INDEX, DisocclusionScores, MaskPrediction, PixelRead, Size

GRID, PADDED, IMAGE = (17, 24), (68, 96), (61, 90)


def random_masks(kind: str, queries: int, grid: Size, generator: torch.Generator) -> torch.Tensor:
    """Noise; smooth segments, partly decided by bounds; or equal queries."""
    if kind == "noise":
        return torch.randn(1, queries, *grid, generator=generator) * 4
    smooth = F.interpolate(torch.randn(1, queries, 4, 6, generator=generator) * 12, size=grid, mode="bicubic") - 3
    return smooth if kind == "smooth" else smooth[:, :1].expand(-1, queries, -1, -1).contiguous()


def prediction(kind: str, grid: Size = GRID, padded: Size = PADDED, image: Size = IMAGE, seed: int = 0) -> MaskPrediction:
    generator = torch.Generator().manual_seed(seed)
    masks = random_masks(kind, 12, grid, generator)
    classes = torch.randn(1, 12, 8, generator=generator) * 4
    return MaskPrediction(classes[None], masks[None], torch.zeros(1, 12, 4), image, padded)


def check(one: MaskPrediction, size: Size) -> None:
    """Require the argmax of the scores, except where two scores are equal to rounding."""
    scores = semantic_scores(one, size)[0]
    shares = None if one.shares is None else one.shares[0]
    classes = one.class_logits[0].softmax(-1)[:, :-1]
    found = label_map(classes, one.mask_logits[0], one.padded_size, one.image_size, size, shares=shares)
    best = scores.max(0)
    assert found.shape == size and found.dtype == torch.int64
    assert (best.values - scores.gather(0, found[None])[0]).max() < 2e-6
    assert (found != best.indices).float().mean() < 1e-3


@pytest.mark.parametrize("kind", ["noise", "smooth", "alike"])
@pytest.mark.parametrize("seed", range(4))
def test_equals_the_argmax_of_the_scores(kind: str, seed: int) -> None:
    check(prediction(kind, seed=seed), IMAGE)


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 5, 8])
def test_equals_the_argmax_of_the_scores_at_every_scale_of_the_mask_grid(scale: int) -> None:
    padded = (GRID[0] * scale, GRID[1] * scale)
    check(prediction("smooth", padded=padded, image=padded), padded)
    check(prediction("noise", padded=padded, image=padded), padded)


@pytest.mark.parametrize("size", [(61, 90), (40, 33), (122, 180), (200, 91), (7, 300)])
def test_equals_the_argmax_of_the_scores_at_another_size(size: Size) -> None:
    check(prediction("smooth"), size)
    # Masks of a MaskFormer cover images that are no multiple of their grid.
    check(prediction("noise", padded=(70, 99)), size)


def with_shares(one: MaskPrediction, kind: str, sets: int = 3, seed: int = 0) -> MaskPrediction:
    """Weights of sets of queries: noise at every pixel, smooth, or one set in each part of the image."""
    generator = torch.Generator().manual_seed(seed)
    height, width = one.image_size
    if kind == "noise":
        shares = torch.rand(1, sets, height, width, generator=generator)
    else:
        coarse = torch.randn(1, sets, 3, 4, generator=generator) * (4 if kind == "smooth" else 1e4)
        shares = F.interpolate(coarse, size=(height, width), mode="bicubic").softmax(1)
    return replace(one, shares=shares / shares.sum(1, keepdim=True))


@pytest.mark.parametrize("shares", ["noise", "smooth", "parts"])
@pytest.mark.parametrize("kind", ["noise", "smooth", "alike"])
def test_weights_of_sets_of_masks_count_at_every_pixel(kind: str, shares: str) -> None:
    for size in (IMAGE, (40, 33), (122, 180)):
        check(with_shares(prediction(kind), shares), size)
    check(with_shares(prediction(kind, padded=(70, 99)), shares), IMAGE)


@pytest.mark.parametrize("size", [IMAGE, (40, 33)])
def test_a_set_of_weight_one_is_the_prediction_of_that_set(size: Size) -> None:
    one, other = prediction("smooth"), prediction("smooth", seed=1)
    both = replace(
        one,
        class_logits_per_layer=torch.cat((one.class_logits_per_layer, other.class_logits_per_layer), 2),
        mask_logits_per_layer=torch.cat((one.mask_logits_per_layer, other.mask_logits_per_layer), 2),
        queries=torch.cat((one.queries, other.queries), 1),
        shares=torch.stack((torch.zeros(IMAGE), torch.ones(IMAGE)))[None],
    )
    assert torch.equal(semantic_map(both, size), semantic_map(other, size))


def test_a_single_class_is_background_below_a_half_of_the_weighted_scores() -> None:
    one = with_shares(prediction("smooth"), "smooth")
    one = replace(one, class_logits_per_layer=one.class_logits_per_layer[..., [0, -1]])
    expected = torch.where(semantic_scores(one)[:, 0] >= 0.5, 0, IGNORE_INDEX)
    assert (semantic_map(one) != expected).float().mean() < 1e-3 and expected.unique().numel() == 2


def test_one_cell_and_one_query() -> None:
    check(prediction("noise", grid=(1, 1), padded=(4, 4), image=(3, 2)), (3, 2))
    masks = torch.tensor([[[3.0, -3.0]]])
    assert label_map(torch.tensor([[0.2, 0.5, 0.3]]), masks, (4, 8), (4, 8), (4, 8)).eq(1).all()


def test_cells_decided_by_bounds_are_not_upsampled(monkeypatch: pytest.MonkeyPatch) -> None:
    upsampled = []
    original = cells._cell_pixels
    monkeypatch.setattr(cells, "_cell_pixels", lambda *a: upsampled.append(len(a[1])) or original(*a))
    # One segment on the left, another on the right: only the cells between them are open.
    masks = torch.full((2, 16, 16), -20.0)
    masks[0, :, :8], masks[1, :, 8:] = 20.0, 20.0
    found = label_map(torch.tensor([[0.9, 0.1], [0.1, 0.9]]), masks, (64, 64), (64, 64), (64, 64))
    # At a mask of one half both classes are equal, which is where column 32 begins.
    assert found[:, :32].eq(0).all() and found[:, 32:].eq(1).all()
    # 17 rows of cells, in whole blocks of 4.
    assert 0 < sum(upsampled) <= 20


def test_a_class_that_is_always_just_ahead_is_decided_by_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Separate bounds are as wide as the range of the masks; the lead of a class hardly varies."""
    upsampled = []
    monkeypatch.setattr(cells, "_cell_pixels", lambda *_: upsampled.append(1))
    generator = torch.Generator().manual_seed(0)
    masks = 3 * torch.randn(6, 32, 32, generator=generator)
    # Classes differ by query, all in the same way, and by little from one another.
    classes = 0.1 + 0.3 * torch.rand(6, 1, generator=generator) * torch.tensor([1.0, 1.01, 0.99, 1.005])
    found = label_map(classes, masks, (128, 128), (128, 128), (128, 128))
    assert found.eq(1).all() and not upsampled


def test_scores_of_all_pixels_never_exist() -> None:
    one = prediction("noise", grid=(64, 64), padded=(512, 512), image=(512, 512))
    largest = 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            nonlocal largest
            result = function(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor):
                largest = max(largest, result.numel())
            return result

    classes = one.class_logits[0].softmax(-1)[:, :-1]
    for size in ((512, 512), (640, 500)):
        largest = 0
        with Watch():
            label_map(classes, one.mask_logits[0], (512, 512), (512, 512), size)
        assert largest < 8 * 512 * 512 / 2


@pytest.mark.parametrize("size", [IMAGE, (40, 33)])
def test_disocclusion_scores_replace_their_share_of_every_pixel(size: Size) -> None:
    generator = torch.Generator().manual_seed(1)
    one = prediction("smooth")
    disocclusion = DisocclusionScores(
        torch.randn(1, 7, 9, 12, generator=generator) * 4, torch.rand(1, 1, 17, 24, generator=generator)
    )
    mixed = replace(one, disocclusion=disocclusion)
    scores = semantic_scores(mixed, size)[0]
    found = semantic_map(mixed, size)[0]
    best = scores.max(0)
    assert (best.values - scores.gather(0, found[None])[0]).max() < 2e-6
    assert (found != semantic_map(one, size)[0]).any(), "the scores must matter for this test to fail"


def with_reads(one: MaskPrediction, flow: torch.Tensor) -> MaskPrediction:
    """Masks of a key frame, and their warp by a flow of every pixel of the image."""
    grid = (one.mask_logits.shape[-2], one.mask_logits.shape[-1])
    coarse = resize_flow(pad_to(flow, one.padded_size), grid)
    warped = warp_segments(one.mask_logits_per_layer, coarse[:, None])
    return replace(one, mask_logits_per_layer=warped, pixel_reads=(PixelRead(one.mask_logits, flow),))


@pytest.mark.parametrize("size", [IMAGE, (40, 33)])
def test_masks_are_read_where_the_flow_of_each_pixel_points(size: Size) -> None:
    one = prediction("smooth")
    flow = torch.zeros(1, 2, *IMAGE)
    flow[:, 0, :, 45:], flow[:, 1] = 6.0, -3.0
    read = with_reads(one, flow)
    expected = semantic_scores(read, size).argmax(1)
    found = semantic_map(read, size)
    # Cells far from any border of the warped masks keep their class, whatever a pixel of them reads.
    assert (found != expected).float().mean() < (0.01 if size == IMAGE else 1e-6)
    assert (expected != semantic_map(replace(read, pixel_reads=()), size)).float().mean() > 0.01


def test_reading_with_a_whole_shift_is_the_shifted_map() -> None:
    one = prediction("smooth")
    flow = torch.zeros(1, 2, *IMAGE)
    flow[:, 0] = 5.0
    found, original = semantic_map(with_reads(one, flow)), semantic_map(one)
    assert torch.equal(found[..., :-5], original[..., 5:])


def test_reads_of_several_sets_and_of_one_class() -> None:
    flow = torch.full((1, 2, *IMAGE), 2.5)
    for classes in (slice(None), [0, -1]):
        one, other = prediction("smooth"), prediction("smooth", seed=1)
        one, other = (replace(p, class_logits_per_layer=p.class_logits_per_layer[..., classes]) for p in (one, other))
        carried = with_reads(one, flow)
        ones = torch.ones(1, *IMAGE)
        both = fuse([Source(carried, 2, 0.5 * ones), Source(other, 0, ones)])
        assert both.pixel_reads[1] is None and len(both.pixel_reads) == 2
        scores = semantic_scores(both)
        assert both.shares is not None
        parts = [share[:, None] * semantic_scores(p) for share, p in zip(both.shares.unbind(1), (carried, other), strict=True)]
        assert torch.allclose(scores, parts[0] + parts[1], atol=1e-5)
        assert (semantic_map(both) != best_class(scores)).float().mean() < 0.01
