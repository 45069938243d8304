"""Label a video from Python: python -m examples.label_video drive.mp4 overlay.mp4 outputs/quickstart/model."""

import sys

from src import DISFlow, FixedInterval, Propagator, StreamingSegmentor, VideoWriter, load_checkpoint, overlay, read_video
from src.inference.flow_choice import names_and_colors


def main(video: str, result: str, checkpoint: str) -> None:
    propagator, metadata = load_checkpoint(checkpoint)  # a model folder, or a transformers folder or hub id
    segmentor = propagator.segmentor
    if metadata.get("stage") != "propagation":  # no trained flow: DIS carries the masks
        propagator = Propagator(segmentor, DISFlow(size_divisor=segmentor.size_divisor))
    stream = StreamingSegmentor(propagator, FixedInterval(key_interval=5), short_side=metadata.get("short_side"))
    _, palette = names_and_colors(metadata, segmentor.num_classes)
    frames, fps = read_video(video)
    with VideoWriter(result, fps) as writer:
        state = None
        for frame in frames:  # (3, H, W) uint8; RGB arrays (H, W, 3) and PIL images work too
            maps, state = stream.step(frame, state)  # (1, H, W) class numbers
            writer.write(overlay(frame, maps[0], palette))


if __name__ == "__main__":
    main(*sys.argv[1:])
