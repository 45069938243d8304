import torch

from src.visualization.weights_panel import weight_to_color, weights_panel

PALETTE = ((200, 0, 0), (0, 0, 200))


def draw(offsets: tuple[int, ...], shares: torch.Tensor) -> torch.Tensor:
    image = torch.randint(0, 256, (3, 40, 60), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    label = torch.zeros(40, 60, dtype=torch.int64)
    return weights_panel(image, [(offset, image) for offset in offsets], shares, label, label, PALETTE)


def test_weights_are_colored_by_their_value() -> None:
    colors = weight_to_color(torch.tensor([[0.0, 0.5, 1.0]]))
    assert colors.shape == (3, 1, 3) and colors.sum(0)[0].tolist() == sorted(colors.sum(0)[0].tolist())
    assert colors[2, 0, 0] > colors[0, 0, 0] and colors[0, 0, 2] > colors[2, 0, 2]  # from blue to yellow


def test_a_nonkey_frame_stands_between_its_key_frames() -> None:
    half = torch.full((2, 40, 60), 0.5)
    even, left = draw((-2, 3), half), draw((-2, 3), torch.stack((torch.ones(40, 60), torch.zeros(40, 60))))
    assert even.dtype == torch.uint8 and even.shape == left.shape and not any(side % 2 for side in even.shape[1:])
    # Three columns, of which the weights change the outer ones of the middle row, titles included.
    changed = (even != left).any(0).any(0)
    third = even.shape[-1] // 3
    assert changed[: third - 8].any() and changed[2 * third + 8 :].any() and not changed[third + 8 : 2 * third - 8].any()


def test_a_key_frame_has_its_own_weight() -> None:
    shares = torch.stack([torch.full((40, 60), value) for value in (0.2, 0.5, 0.3)])
    both, past = draw((-5, 0, 5), shares), draw((-5, 0), shares[:2])
    assert both.shape == past.shape and not torch.equal(both, past)
