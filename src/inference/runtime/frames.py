"""Networks of a stream's frames by a runtime: prepared for each image size, checked on the first frames, shared by streams."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeVar, get_args

import torch
from torch import Tensor

from src.inference.runtime import onnx, openvino, parity, store
from src.inference.runtime.graphs import Graphs, convert, precision_of, slower
from src.models.frame_modules import KeyFrame, carried
from src.models.propagator import Propagator
from src.models.segmentors.dense import DenseSegmentor
from src.ops.device import milliseconds
from src.structures import FlowPrediction, KeyFrameState, MaskPrediction

log = logging.getLogger(__name__)

RuntimeName = Literal["auto", "eager", "graph", "onnx", "openvino"]
"""auto: graph on CUDA and openvino on CPUs where that saves time, else eager. eager: torch. graph: CUDA graph. onnx: CPUs."""
Kind = Literal["eager", "graph", "onnx", "openvino"]
Segmented = tuple[MaskPrediction, tuple[Tensor, ...] | None]
"""Final layer of a prediction, and the key frame's features of the flow."""
Propagated = tuple[MaskPrediction, FlowPrediction]
FrameT = TypeVar("FrameT", Segmented, Propagated)
ResultT = TypeVar("ResultT")

_MOST_SIZES = 4
_SAVED_SHARE = {"openvino": 0.15, "graph": 0.4}
_PREPARATION_SECONDS = {"openvino": 60.0, "graph": 30.0}
"""``auto`` prepares a graph for a stream whose eager time, multiplied by the share above, exceeds this."""


class FrameRuntime:
    """Networks of one propagator; any number of streams and threads may share them.

    Args:
        propagator: network in eval mode.
        name: runtime.
        autocast: precision of the networks.
        folder: folder of prepared graphs, read and written; ``None``: graphs are prepared anew by every process.

    Raises:
        ModuleNotFoundError: if OpenVINO or ONNX Runtime is named and not installed.
        ValueError: if the runtime is unknown or does not fit the device or the precision.
    """

    def __init__(
        self,
        propagator: Propagator,
        name: RuntimeName = "eager",
        autocast: torch.dtype | None = None,
        folder: Path | None = None,
    ) -> None:
        self.propagator, self.name, self.autocast, self.folder = propagator, name, autocast, folder
        self.device = next(propagator.parameters()).device
        self.kind = self._kind()
        self._graphs: OrderedDict[object, Graphs] = OrderedDict()
        self._lock = threading.Lock()
        self._frames_to_come = 0
        self._eager_ms: list[float] = []

    def expect(self, frames: int | None) -> None:
        """Set the number of frames to come, by which ``auto`` decides; ``None``: unknown."""
        self._frames_to_come, self._eager_ms = frames or 0, []

    def segment(self, image: Tensor, eager: Callable[[], Segmented]) -> Segmented:
        """Segment images (B, 3, H, W) at network size; ``eager`` does so in torch."""
        graphs = self._graphs_for(image)
        if graphs is None:
            return self._timed(eager)
        if graphs.key is None:
            return eager()
        outputs = graphs.run(graphs.key, image)
        found = KeyFrame(self.propagator).prediction(outputs, (image.shape[-2], image.shape[-1]))
        return self._checked(graphs, "key", found, eager)

    def propagate(self, image: Tensor, key: KeyFrameState, eager: Callable[[], Propagated]) -> Propagated:
        """Propagate masks to images (B, 3, H, W) at network size; ``eager`` does so in torch."""
        graphs = self._graphs.get((image.shape[-2:], image.dtype))
        if graphs is None or graphs.nonkey is None:
            return self._timed(eager)
        features = (key.image,) if key.flow_features is None else key.flow_features
        outputs = graphs.run(graphs.nonkey, image, key.prediction.mask_logits, key.prediction.queries, *features)
        return self._checked(graphs, "nonkey", carried(self.propagator, key.prediction, outputs, graphs.names), eager)

    def _graphs_for(self, image: Tensor) -> Graphs | None:
        """Return the networks of a key frame's size, prepared on first use; ``None`` for eager torch."""
        if self.kind == "eager":
            return None
        with self._lock:
            size = image.shape[-2:], image.dtype
            if size not in self._graphs:
                if self.name == "auto" and not self._pays(image):
                    return None
                graphs = self._or_eager(lambda: self._prepared(image))
                if graphs is None:
                    return None
                self._graphs[size] = graphs
                if len(self._graphs) > _MOST_SIZES:
                    self._graphs.popitem(last=False)
            self._graphs.move_to_end(size)
            return self._graphs[size]

    def _prepared(self, image: Tensor) -> Graphs:
        assert self.kind != "eager"
        folder = self._stored(image)
        if folder is not None and (folder / store.RUNTIME_FILE).is_file():
            log.info("runtime %s: graphs of %s", self.kind, folder)
            graphs = store.load(folder, self.propagator, precision_of(self.autocast), self.name == "auto")
            self._report_slower(graphs)
            return graphs
        log.info("runtime %s: preparing %dx%d, which may take a minute", self.kind, *image.shape[-2:])
        graphs = convert(self.propagator, self.kind, image[:1], self.autocast)
        if folder is not None:
            try:
                store.write(folder, self.propagator, graphs)
            except OSError as error:
                log.warning("cannot keep the graphs (%s); the next run prepares them again", error)
        if self.name != "auto":
            return graphs
        self._report_slower(graphs)
        return graphs.faster()

    def _report_slower(self, graphs: Graphs) -> None:
        for frame in slower(graphs.milliseconds) if self.name == "auto" else ():
            ms = graphs.milliseconds[frame]
            text = "runtime auto: %s frames in torch, %.0f ms against %.0f in %s when the graph was prepared"
            log.info(text, frame, ms["eager"], ms["graph"], self.kind)

    def _stored(self, image: Tensor) -> Path | None:
        """Return the folder of the graphs of a size, ``None`` where they are not kept."""
        if self.folder is None or self.kind not in ("onnx", "openvino") or image.dtype != torch.uint8:
            return None
        size = image.shape[-2], image.shape[-1]
        return self.folder / store.folder_name(self.kind, size, precision_of(self.autocast), self.propagator)

    def _pays(self, image: Tensor) -> bool:
        """Return whether graphs are stored, or the frames to come save more than their preparation takes."""
        folder = self._stored(image)
        if folder is not None and (folder / store.RUNTIME_FILE).is_file():
            return True
        # The first call of torch is slower than the others.
        timed = self._eager_ms[1:]
        seconds = self._frames_to_come * sum(timed) / len(timed) / 1e3 if timed else 0.0
        return seconds * _SAVED_SHARE[self.kind] > _PREPARATION_SECONDS[self.kind]

    def _timed(self, eager: Callable[[], FrameT]) -> FrameT:
        if self.name != "auto" or self.kind == "eager" or not self._frames_to_come:
            return eager()
        ms, result = milliseconds(eager)
        self._eager_ms.append(ms)
        self._frames_to_come -= 1
        return result

    def _checked(self, graphs: Graphs, frame: str, found: FrameT, eager: Callable[[], FrameT]) -> FrameT:
        """Compare the first result of each kind of frame with that of eager torch, unless an earlier process did."""
        if frame not in graphs.unchecked:
            return found
        expected = eager()
        deviation = parity.compare(found[0], expected[0], parity.tolerance(self.autocast, self.device))
        graphs.unchecked.discard(frame)
        text = f"runtime {self.kind}, first {frame} frame beside eager torch: {deviation}"
        if deviation.is_within:
            log.info("%s", text)
            try:
                store.note_checked(graphs, frame)
            except OSError as error:
                log.info("cannot note this comparison (%s); the next run compares again", error)
            return found
        self._or_eager(lambda: _refuse(text))
        return expected

    def _or_eager(self, prepare: Callable[[], ResultT]) -> ResultT | None:
        """Return the result; of an error, ``auto`` warns once and continues with eager torch."""
        try:
            return prepare()
        except (ValueError, OSError, RuntimeError) as error:
            if self.name != "auto":
                raise
            log.warning("%s; continuing with runtime=eager", error)
            self.kind = "eager"
            self._graphs.clear()
            return None

    def _kind(self) -> Kind:
        """Return the runtime that is used where its preparation pays."""
        name, device, half = self.name, self.device.type, self.autocast == torch.float16
        if isinstance(self.propagator.segmentor, DenseSegmentor):
            if name not in ("auto", "eager"):
                raise ValueError(f"runtime is {name}, and the segmentor is dense; expected one with queries; use runtime=eager")
            return "eager"
        if name == "auto":
            on_cpu: Kind = "openvino" if device == "cpu" and not half else "eager"
            return "graph" if device == "cuda" else on_cpu if openvino.is_installed() else "eager"
        if name not in get_args(RuntimeName):
            raise ValueError(f"runtime is {name!r}; expected {', '.join(get_args(RuntimeName))}")
        if name == "graph" and device != "cuda":
            raise ValueError(f"runtime is graph and the device {device}; expected cuda; use runtime=auto")
        if name == "openvino" and (device != "cpu" or half):
            raise ValueError(
                f"runtime is openvino, the device {device} and autocast {self.autocast}; expected a CPU and float32 or bfloat16; "
                "use runtime=auto"
            )
        if name == "onnx" and (device != "cpu" or self.autocast is not None):
            raise ValueError(
                f"runtime is onnx, the device {device} and autocast {self.autocast}; expected a CPU and float32; use runtime=auto"
            )
        if name in ("onnx", "openvino"):
            (onnx if name == "onnx" else openvino).check_installed()
        return name


class Runtimes:
    """A runtime for several propagators, each prepared once for all streams; arguments as of :class:`FrameRuntime`."""

    def __init__(self, name: RuntimeName = "eager", folder: Path | None = None) -> None:
        self.name, self.folder = name, folder
        self._known: dict[tuple[int, torch.dtype | None], FrameRuntime] = {}

    def of(self, propagator: Propagator, autocast: torch.dtype | None) -> FrameRuntime:
        """Return the networks of a propagator in a precision; errors are those of :class:`FrameRuntime`."""
        if self.name == "eager":
            return FrameRuntime(propagator)
        # The runtime holds the propagator, so its id stays taken.
        key = id(propagator), autocast
        if key not in self._known:
            self._known[key] = FrameRuntime(propagator, self.name, autocast, self.folder)
        return self._known[key]


EAGER = Runtimes()


def _refuse(text: str) -> None:
    raise ValueError(f"{text}; use runtime=eager")
