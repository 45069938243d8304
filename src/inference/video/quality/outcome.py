"""Outcome of the prediction of one source."""

from dataclasses import dataclass

from src.inference.video.prediction import PredictionProgress


@dataclass(frozen=True)
class VideoPrediction:
    """Result of the prediction of one source.

    Attributes:
        stop_signal: signal that ended the prediction early, or ``None``.
    """

    progress: PredictionProgress
    decode_errors: list[str]
    stop_signal: int | None

    @property
    def frames(self) -> int:
        """Number of predicted frames."""
        return self.progress.frames

    @property
    def exit_code(self) -> int:
        """0; 1 after decode errors; 128 + signal after a signal."""
        return 128 + self.stop_signal if self.stop_signal is not None else int(bool(self.decode_errors))
