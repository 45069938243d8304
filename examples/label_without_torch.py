"""Label a video by a folder of src.export: python -m examples.label_without_torch drive.mp4 labels <folder of graphs>."""

import json
import sys
from pathlib import Path

import av
import numpy as np
from PIL import Image

sys.modules["openvino_telemetry"] = None  # no usage data is sent
import openvino  # noqa: E402


def label_map(class_logits, mask_logits, size):
    """Sum the masks of every class, (H, W) uint8."""
    shares = np.exp(class_logits[0] - class_logits[0].max(1, keepdims=True))
    shares = (shares / shares.sum(1, keepdims=True))[:, :-1]  # the last class is "no object"
    scores = np.einsum("qk,qhw->khw", shares, 1 / (1 + np.exp(-mask_logits[0])))
    padded = scores.shape[2] * 4, scores.shape[1] * 4  # the masks cover the image padded at the right and bottom
    large = [np.asarray(Image.fromarray(one).resize(padded, Image.Resampling.BILINEAR)) for one in scores]
    return np.stack(large).argmax(0)[: size[0], : size[1]].astype(np.uint8)


def main(video: str, output: str, folder: str, key_interval: int = 5) -> None:
    note = json.loads((Path(folder) / "runtime.json").read_text())
    core, settings = openvino.Core(), {"INFERENCE_PRECISION_HINT": "f32"}
    key, nonkey = (core.compile_model(f"{folder}/{name}.xml", "CPU", settings) for name in ("key", "nonkey"))
    height, width = note["size"]
    Path(output).mkdir(parents=True, exist_ok=True)
    with av.open(video) as source:
        for number, frame in enumerate(source.decode(video=0)):
            image = frame.to_ndarray(width=width, height=height, format="rgb24").transpose(2, 0, 1)[None].copy()
            if number % key_interval == 0:
                classes, masks, *features = key([image]).to_tuple()
                carried = masks
            else:
                carried = nonkey([image, masks, *features]).to_tuple()[0]
            label = Image.fromarray(label_map(classes, carried, note["size"]), "P")
            label.putpalette([value for color in note["palette"] for value in color])
            label.save(f"{output}/{number:06d}.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
