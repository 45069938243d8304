"""Model of each entry point's options, by the name of its file in ``conf/``."""

from src.options.benchmark import Benchmark
from src.options.check_data import CheckData
from src.options.convert import Convert
from src.options.demo import Demo
from src.options.eval import Eval
from src.options.fields import Options
from src.options.predict import Predict
from src.options.train import Train

MODELS: dict[str, type[Options]] = {
    "benchmark": Benchmark,
    "check_data": CheckData,
    "convert": Convert,
    "demo": Demo,
    "eval": Eval,
    "predict": Predict,
    "train": Train,
}
"""Models by config name."""
