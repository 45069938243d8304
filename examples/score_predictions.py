"""Score label maps of any method: python -m examples.score_predictions <own data> <folder of <video>/<frame>.png>."""

import sys

from src import FolderClips, MeanIoU, VideoConsistency
from src.inference.evaluation.prediction_files import PredictionFolder


def main(root: str, predictions: str) -> dict[str, float]:
    dataset = FolderClips(root)
    files, iou, consistency = PredictionFolder(predictions, dataset), MeanIoU(dataset.num_classes), VideoConsistency(window=8)
    for number, clip in enumerate(dataset.clips):
        for frame in clip.labelled_frames:
            label = dataset.read_label(number, frame)
            prediction = files.read(number, frame, (label.shape[0], label.shape[1]))
            iou.update(prediction, label)
            consistency.update(prediction[None], label[None], end_of_clip=False)
        consistency.end_clip()
    return {"mIoU": float(iou.compute()["miou"]), "mVC8": float(consistency.compute())}


if __name__ == "__main__":
    print(main(*sys.argv[1:]))
