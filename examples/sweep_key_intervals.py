"""Plot accuracy by key interval: python -m examples.sweep_key_intervals outputs/quickstart/model mydata intervals.png."""

import sys

import matplotlib.pyplot as plt

from src import FixedInterval, FolderClips, MeanIoU, StreamingSegmentor, load_checkpoint


def main(checkpoint: str, root: str, plot: str, intervals: tuple[int, ...] = (1, 2, 3, 5, 10)) -> None:
    (propagator, _), dataset, scores = load_checkpoint(checkpoint), FolderClips(root), []
    for interval in intervals:
        stream, iou = StreamingSegmentor(propagator, FixedInterval(interval)), MeanIoU(dataset.num_classes)
        for number, clip in enumerate(dataset.clips):
            for frame, semantic_map in enumerate(stream.stream(dataset.read_image(number, n) for n in range(len(clip)))):
                if frame in clip.labelled_frames:
                    iou.update(semantic_map, dataset.read_label(number, frame))
        scores.append(100 * float(iou.compute()["miou"]))
    figure, axes = plt.subplots(subplot_kw={"xlabel": "key interval (frames)", "ylabel": "mIoU (%)"})
    axes.plot(intervals, scores, marker="o")
    figure.savefig(plot)


if __name__ == "__main__":
    main(*sys.argv[1:])
