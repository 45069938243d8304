"""Pictures of flows and the labels that they warp."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from src.data.clips import ClipDataset
from src.files.atomic_write import write_rgb
from src.inference.evaluation.flow.label_propagation import label_pairs
from src.inference.evaluation.flow.method import FlowMethod
from src.ops.occlusion import forward_backward_consistent
from src.ops.warp import warp_label
from src.visualization.canvas import legend, stack
from src.visualization.class_colors import class_palette
from src.visualization.flow_panel import PropagatedLabel, flow_panel
from src.visualization.palette import PaletteChoice


def write_flow_pictures(
    methods: Mapping[str, FlowMethod],
    dataset: ClipDataset,
    folder: Path,
    offset: int,
    pairs: int = 3,
    choice: PaletteChoice = "names",
) -> list[Path]:
    """Write ``<clip>_<frame>_offset_<offset>.png`` for a few pairs, spread evenly over all that are ``offset`` frames apart.

    The folder is created if missing; files of the same name are replaced.

    Raises:
        ValueError: if no two labelled frames are ``offset`` frames apart.
    """
    found = label_pairs(dataset, [offset])
    # From the middle of equal parts: neither the first nor the last pair, where a drive begins or ends.
    chosen = [found[(2 * i + 1) * len(found) // (2 * pairs)] for i in range(min(pairs, len(found)))]
    palette = class_palette(dataset.classes, dataset.chosen_colors, choice)
    files = []
    for clip, key, target in chosen:
        key_image, image = dataset.read_image(clip, key), dataset.read_image(clip, target)
        key_label, label = dataset.read_label(clip, key), dataset.read_label(clip, target)
        labels = {name: propagate_label(one, key_image, image, key_label, dataset.num_classes) for name, one in methods.items()}
        panel = flow_panel(key_image, image, key_label, label, labels, palette, offset)
        panel = stack([panel, legend(dataset.classes, palette, panel.shape[-1])])
        file = folder / f"{dataset.clips[clip].name.replace('/', '_')}_{target:05d}_offset_{offset}.png"
        files.append(write_rgb(panel, file))
    return files


@torch.inference_mode()
def propagate_label(
    method: FlowMethod, key_image: Tensor, nonkey_image: Tensor, key_label: Tensor, num_classes: int
) -> PropagatedLabel:
    """Warp the key frame's label to a non-key frame and mark disoccluded pixels.

    Disoccluded pixels are those with a confidence below a half or, for an estimator without confidence, those that fail the
    forward-backward check. Images are (3, H, W) uint8 RGB, the label (H, W) int64.
    """
    key = method.start(key_image)
    flow = method.to_key(key, nonkey_image)
    label = warp_label(key_label[None], flow[None], num_classes)[0]
    confidence = method.confidence(key, nonkey_image)
    if confidence is not None:
        return PropagatedLabel(flow, label, confidence < 0.5, "disoccluded (confidence)")
    back = method.to_key(method.start(nonkey_image), key_image)
    consistent = forward_backward_consistent(flow[None], back[None])[0]
    return PropagatedLabel(flow, label, ~consistent, "disoccluded (forward-backward)")
