"""Laws of the charts of cost: they follow the numbers."""

import pytest
import torch

from src.visualization.cost_charts import cost_curves_picture, roofline_picture, trade_off_picture


def test_points_move_with_their_cost_and_score() -> None:
    points = {"a": (0.0, 50.0), "b": (10.0, 70.0), "c": (3000.0, 90.0)}
    whole = trade_off_picture({"ms": points}, "mIoU")
    assert whole.dtype == torch.uint8 and whole.shape[0] == 3
    other = trade_off_picture({"ms": points | {"b": (100.0, 70.0)}}, "mIoU")
    assert whole.shape == other.shape and not torch.equal(whole, other)
    assert trade_off_picture({"ms": points, "GFLOPs": points}, "mIoU").shape[2] > whole.shape[2]


def test_every_method_has_its_own_color() -> None:
    picture = trade_off_picture({"ms": {"a": (1.0, 1.0), "b": (2.0, 2.0)}}, "mIoU")
    for color in ((31, 119, 180), (255, 127, 14)):
        assert (picture == torch.tensor(color).view(3, 1, 1)).all(0).sum() > 20


def test_invalid_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="0 kinds of cost with 0 methods"):
        trade_off_picture({}, "mIoU")
    with pytest.raises(ValueError, match="1 kinds of cost with 0 methods"):
        trade_off_picture({"ms": {}}, "mIoU")
    with pytest.raises(ValueError, match="negative"):
        trade_off_picture({"ms": {"a": (-1.0, 1.0)}}, "mIoU")


def test_every_curve_is_drawn_and_named() -> None:
    curves = {"fixed": [(1.0, 60.0), (2.0, 70.0)], "adaptive": [(1.0, 65.0), (2.0, 75.0)]}
    both, one = (cost_curves_picture(dict(list(curves.items())[:n]), "GFLOPs", "mIoU") for n in (2, 1))
    colors = [{tuple(pixel) for pixel in picture.flatten(1).T.tolist()} for picture in (both, one)]
    assert len(colors[0]) > len(colors[1])
    with pytest.raises(ValueError, match="without a point"):
        cost_curves_picture({"fixed": []}, "GFLOPs", "mIoU")


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
