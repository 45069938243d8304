import torch

from src.structures import IGNORE_INDEX
from src.visualization.contact_sheet import UNDEFINED_COLOR, SheetFrame, contact_sheet

PALETTE = ((200, 0, 0), (0, 0, 200))


def colors(picture):
    return set(map(tuple, picture.flatten(1).T.unique(dim=0).tolist()))


def frame(*values, name="v/0.png", image=(0, 90, 0), size=(40, 60)):
    label = torch.tensor(values).repeat_interleave(size[1] // len(values)).expand(size[0], -1)
    return SheetFrame(name, torch.tensor(image, dtype=torch.uint8)[:, None, None].expand(3, *size), label)


def test_each_frame_has_image_label_and_overlay():
    sheet = contact_sheet([frame(0, 1)], ("road", "car"), PALETTE)
    assert {(0, 90, 0), *PALETTE, (80, 54, 0), (0, 54, 80)} <= colors(sheet)
    two = contact_sheet([frame(0, 1), frame(1, 0)], ("road", "car"), PALETTE)
    assert two.shape[-1] == sheet.shape[-1] and two.shape[-2] > sheet.shape[-2]


def test_undefined_values_and_labels_of_another_size_are_drawn():
    small = frame(0, 2, IGNORE_INDEX, size=(20, 30)).label
    sheet = contact_sheet([frame(0)._replace(label=small)], ("road", "car"), PALETTE)
    assert UNDEFINED_COLOR in colors(sheet) and PALETTE[1] not in colors(sheet)


def test_frames_without_labels_show_the_image_only():
    sheet = contact_sheet([frame(0)._replace(label=None)], (), ())
    assert (0, 90, 0) in colors(sheet)
