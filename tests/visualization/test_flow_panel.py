import torch

from src.structures import IGNORE_INDEX
from src.visualization.canvas import GAP, TITLE_HEIGHT
from src.visualization.flow_panel import PropagatedLabel, flow_panel
from src.visualization.overlay import CORRECT_COLOR, WRONG_COLOR
from src.visualization.palette import VOID_COLOR

SIZE = (40, 240)
PALETTE = ((0, 0, 255), (0, 255, 0))


def tile(panel: torch.Tensor, row: int, column: int) -> torch.Tensor:
    top, left = row * (TITLE_HEIGHT + SIZE[0] + GAP) + TITLE_HEIGHT, column * (SIZE[1] + GAP)
    return panel[:, top : top + SIZE[0], left : left + SIZE[1]]


def test_each_method_shows_flow_label_errors_and_disoccluded_pixels() -> None:
    image = torch.full((3, *SIZE), 100, dtype=torch.uint8)
    label = torch.zeros(SIZE, dtype=torch.int64)
    label[:, 200:] = IGNORE_INDEX
    carried = label.clone()
    carried[:, :60], carried[:, 60:80] = 1, IGNORE_INDEX
    disoccluded = torch.zeros(SIZE, dtype=torch.bool)
    disoccluded[:, :10] = True
    flow = torch.zeros(2, *SIZE)
    flow[0, :, 120:] = 5
    methods = {
        "a": PropagatedLabel(flow, carried, disoccluded, "disoccluded (forward-backward)"),
        "b": PropagatedLabel(flow / 5, label, torch.zeros_like(disoccluded), "disoccluded (confidence)"),
    }
    panel = flow_panel(image, image, label, label, methods, PALETTE, offset=3)
    assert torch.equal(tile(panel, 0, 0), image) and torch.equal(tile(panel, 0, 2), image)
    flows = tile(panel, 1, 0), tile(panel, 2, 0)
    assert (flows[0][:, :, :120] == 255).all() and (flows[0][:, :, 120:] != 255).any(0).all()
    # One scale for all: the slower motion is paler.
    assert flows[1][:, :, 120:].float().mean() > flows[0][:, :, 120:].float().mean()
    errors = tile(panel, 1, 2)
    for columns, color in (
        (slice(0, 60), WRONG_COLOR),
        (slice(60, 80), VOID_COLOR),
        (slice(80, 200), CORRECT_COLOR),
        (slice(200, 240), VOID_COLOR),
    ):
        assert (errors[:, :, columns] == torch.tensor(color).view(3, 1, 1)).all()
    marked = tile(panel, 1, 3)
    assert (marked[0, :, :10] > 150).all() and torch.equal(marked[:, :, 10:], image[:, :, 10:])
    assert torch.equal(tile(panel, 2, 3), image)
