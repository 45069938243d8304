"""Values of ``config.json`` that no network of this project has, by the path of their key."""

from typing import Any

SIZES: tuple[Any, ...] = (10**9, 10**6, 60_000, 0, -1, 1.5, "8", None, [], {}, [10**9] * 4)
_SEGMENTOR, _BACKBONE, _FLOW = ("segmentor",), ("segmentor", "backbone_config"), ("flow", "config")
SWEPT: dict[tuple[str, ...], tuple[Any, ...]] = {
    **{
        (*_SEGMENTOR, name): SIZES
        for name in (
            "num_queries", "hidden_dim", "feature_size", "mask_feature_size", "encoder_feedforward_dim", "dim_feedforward",
            "encoder_layers", "decoder_layers", "num_attention_heads", "num_classes",
        )
    },
    **{(*_BACKBONE, name): SIZES for name in ("embed_dim", "depths", "num_heads", "window_size", "patch_size", "num_channels")},
    **{
        (*_FLOW, name): (*SIZES, [0] * 6, [10**9] * 6)
        for name in ("query_dim", "num_queries", "hidden_dim", "num_heads", "ffn_dim", "decoder_layers", "encoder_channels",
                     "refine_channels", "mlp_dim", "size_divisor")
    },
    (*_BACKBONE, "mlp_ratio"): (1e300, 10**6, "x", None, float("nan")),
    (*_BACKBONE, "layer_norm_eps"): (1e300, 0.0, -1.0, float("nan")),
    (*_BACKBONE, "drop_path_rate"): (1000, -0.5, float("inf")),
    (*_BACKBONE, "model_type"): ("bert", [], None, "x" * 10**6),
    (*_SEGMENTOR, "activation_function"): ("os.system", None, [], "x" * 10**6),
    (*_SEGMENTOR, "image_std"): ([0, 0, 0], [1e-40] * 3, [-1] * 3, [float("nan")] * 3, [1, 1], "abc", None, [True] * 3),
    (*_SEGMENTOR, "image_mean"): ([float("nan")] * 3, [float("inf")] * 3, [1e300] * 3, {}, 5),
    (*_SEGMENTOR, "model_type"): ([], {}, None, "x" * 10**6),
    ("segmentor",): (None, [], 5, "x"),
    ("flow",): (None, [], {}, "query", {"name": []}, {"name": {}}, {"name": "query", "config": []}, {"name": "x" * 10**6},
                {"name": "raft", "config": {"weights": "C_T_V2"}}, {"name": "dis", "config": {"short_side": 10**12}},
                {"name": "copy", "config": {"size_divisor": "32"}}),
    ("warp_grid",): (None, [], 5),
    ("format_version",): (None, [], "1"),
    ("metadata",): (None, [], 5, "x"),
    ("metadata", "classes"): (["x" * 10**6], "abc", [1, 2], {}, 5, ["a"] * 10**5),
    ("metadata", "palette"): (5, "abc", [[1, 2]], [["a", "b", "c"]], [[256, 0, 0]], [[-1, 0, 0]], [[1.5, 0, 0]]),
    ("metadata", "short_side"): ("abc", -1, 0, 1e9, 1.5, True, []),
    ("metadata", "max_long_side"): ("x", -5),
}  # fmt: skip
