"""Laws of the limits of configurations."""

from typing import Any

import pytest

from src.models.config_limits import check_limits


def test_published_sizes_pass() -> None:
    check_limits(
        {
            "num_queries": 200, "hidden_dim": 256, "encoder_layers": 6, "dropout": 0, "drop_path_rate": 0.3, "window_size": 12,
            "backbone_config": {"depths": [2, 2, 18, 2], "num_heads": [6, 12, 24, 48], "layer_norm_eps": 1e-5, "image_size": 384},
            "num_register_tokens": 0, "num_upscale_blocks": 2, "pre_norm": False, "disocclusion_classes": None,
        }
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_queries", 10**9), ("num_queries", 0), ("num_queries", -1), ("encoder_layers", 129), ("encoder_layers", 10**6),
        ("depths", [2, 10**6]), ("num_heads", [0]), ("window_size", 1000), ("hidden_dim", 10**4000), ("dropout", 2),
        ("dropout", float("nan")), ("layer_norm_eps", 0.0), ("mlp_ratio", 1e300), ("mlp_ratio", float("inf")),
        ("name", "x" * 10**6), ("sizes", [1] * 10**5), ("deep", [[[[[[[[1]]]]]]]]),
    ],
    ids=lambda value: str(value)[:20],
)  # fmt: skip
def test_other_values_are_one_line_with_their_name(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{name} ") as error:
        check_limits({"part": {name: value}})
    assert len(str(error.value)) < 200
