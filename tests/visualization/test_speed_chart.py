"""Laws of the chart of times and roofline: a longer part has a longer bar, and every part has its line."""

import pytest
import torch

from src.visualization.speed_chart import roofline_picture


def part(name: str, ms: float) -> dict[str, object]:
    return {"name": name, "ms": ms, "roofline_ms": 10.0}


def blue(picture: torch.Tensor) -> int:
    """Pixels of the measured bars."""
    color = torch.tensor([31, 119, 180], dtype=torch.uint8)[:, None, None]
    return int((picture == color).all(0).sum())


def test_a_longer_time_is_a_longer_bar() -> None:
    short, long = (roofline_picture([part("a", 100.0), part("b", other)]) for other in (20.0, 80.0))
    assert short.dtype == torch.uint8 and blue(long) > 1.3 * blue(short)


def test_more_parts_are_a_taller_picture_and_none_is_refused() -> None:
    parts = [part(str(number), 5.0) for number in range(8)]
    assert roofline_picture(parts).shape[1] > roofline_picture(parts[:2]).shape[1]
    with pytest.raises(ValueError, match="there is no part"):
        roofline_picture([])
