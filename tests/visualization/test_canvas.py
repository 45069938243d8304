"""Laws of tiles and legends."""

import pytest
import torch

from src.visualization.canvas import GAP, TITLE_HEIGHT, Tile, legend, stack, tile_grid, tile_size
from src.visualization.class_colors import distinct_palette


@pytest.mark.parametrize(
    ("size", "shown"), [((96, 128), (192, 256)), ((360, 480), (360, 480)), ((1024, 2048), (320, 640)), ((10, 240), (10, 240))]
)
def test_small_images_grow_by_integer_factors_and_large_ones_shrink(size: tuple[int, int], shown: tuple[int, int]) -> None:
    assert tile_size(size) == shown


def test_tiles_are_in_a_grid_with_white_gaps() -> None:
    images = [torch.full((3, 20, 250), value, dtype=torch.uint8) for value in (10, 90, 170)]
    a, b, c = (Tile("", image) for image in images)
    picture = tile_grid([[a, b], [c]])
    assert picture.shape == (3, 2 * (TITLE_HEIGHT + 20 + GAP), 2 * 250 + GAP)
    top, right, below = TITLE_HEIGHT, 250 + GAP, 2 * TITLE_HEIGHT + 20 + GAP
    for image, x, y in zip(images, (0, right, 0), (top, top, below), strict=True):
        assert torch.equal(picture[:, y : y + 20, x : x + 250], image)
        picture[:, y : y + 20, x : x + 250] = 255
    assert (picture == 255).all()


def test_enlarging_repeats_pixels() -> None:
    image = torch.randint(0, 256, (3, 5, 120), dtype=torch.uint8)
    picture = tile_grid([[Tile("", image)]])
    enlarged = image.repeat_interleave(2, 1).repeat_interleave(2, 2)
    assert torch.equal(picture[:, TITLE_HEIGHT : TITLE_HEIGHT + 10], enlarged)


@pytest.mark.parametrize("title", ["errors: 7.4 % wrong", "a very long title " * 10])
def test_titles_are_written_and_stay_above_their_tile(title: str) -> None:
    blank = Tile("", torch.zeros(3, 30, 240, dtype=torch.uint8))
    plain, titled = tile_grid([[blank, blank]]), tile_grid([[blank._replace(title=title), blank]])
    changed = (plain != titled).any(0).nonzero()
    assert len(changed) > 50
    assert changed[:, 0].max() < TITLE_HEIGHT
    assert changed[:, 1].max() < 240


def test_sides_are_even() -> None:
    odd = tile_grid([[Tile("odd", torch.zeros(3, 31, 241, dtype=torch.uint8))]])
    assert odd.shape[1] % 2 == 0
    assert odd.shape[2] % 2 == 0


@pytest.mark.parametrize(("count", "width"), [(5, 300), (124, 776)])
def test_a_legend_shows_every_color(count: int, width: int) -> None:
    palette = distinct_palette(count)
    picture = legend([f"class {i}" for i in range(count)], palette, width)
    assert picture.shape[2] == width
    shown = {tuple(color) for color in picture.flatten(1).T.tolist()}
    assert shown >= set(palette)


def test_a_legend_is_wrapped_like_words_and_scales_with_its_rows() -> None:
    names, palette = ["a", "a much longer name", "b", "c"], distinct_palette(4)
    wide = legend(names, palette, 2000, 22)
    assert wide.shape == (3, 22, 2000)
    narrow = legend(names, palette, 250, 22)
    assert narrow.shape[1] == 44
    large = legend(names, palette, 2000, 44)
    assert large.shape == (3, 44, 2000)
    assert (large != 255).any(0).any(0).nonzero().max() > 1.5 * (wide != 255).any(0).any(0).nonzero().max()
    for picture in (wide, narrow, large, legend(names, palette, 30, 18)):
        assert {tuple(color) for color in picture.flatten(1).T.tolist()} >= set(palette)


@pytest.mark.parametrize("name", ["Übung", "道路", "дорога"])
def test_letters_beyond_ascii_are_drawn(name: str) -> None:
    drawn, unknown = (legend([text], [(0, 0, 255)], 300) for text in (name, "\ufffe" * len(name)))
    assert not torch.equal(drawn, unknown)


def test_stacked_pictures_keep_their_pixels() -> None:
    a = torch.randint(0, 255, (3, 4, 6), dtype=torch.uint8)
    b = torch.randint(0, 255, (3, 2, 4), dtype=torch.uint8)
    both = stack([a, b])
    assert torch.equal(both[:, :4], a)
    assert torch.equal(both[:, 4:, :4], b)
    assert (both[:, 4:, 4:] == 255).all()


def test_invalid_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="2 class names but 3 colors"):
        legend(["a", "b"], distinct_palette(3), 100)
    with pytest.raises(ValueError, match="there is no tile"):
        tile_grid([])
