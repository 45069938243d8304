"""Names of the flow estimator's weights in the published MPVSS checkpoints and in ours."""

from __future__ import annotations

from functools import cache

MOTION_PREFIX = "motion."
"""What the published whole-model checkpoints put before every name of :func:`motion_names`."""

_LAYERS = 9
_ENCODER = ("1.0", "2.0", "3.0", "3.1", "4.0", "4.1", "5.0", "5.1", "6.0", "6.1")
_PREDICT = ("6", "5", "4", "3", "")
_LAYER = {
    "transformer_self_attention_layers.{}.self_attn.in_proj_": "attention_in.",
    "transformer_self_attention_layers.{}.self_attn.out_proj.": "attention_out.",
    "transformer_self_attention_layers.{}.norm.": "attention_norm.",
    "transformer_ffn_layers.{}.linear1.": "ffn_in.",
    "transformer_ffn_layers.{}.linear2.": "ffn_out.",
    "transformer_ffn_layers.{}.norm.": "ffn_norm.",
}
_BOTH = ("weight", "bias")


@cache
def motion_names() -> dict[str, str]:
    """Every tensor of the published motion module (no prefix) to its name in our ``QueryFlow``; shapes are equal.

    Invert the dictionary for the way back: no name of ours occurs twice.
    """
    names: dict[str, str] = {}

    def add(official: str, ours: str, kinds: tuple[str, ...] = _BOTH) -> None:
        names.update({official + kind: ours + kind for kind in kinds})

    for name in _ENCODER:
        stage, part = name.split(".")
        # Ours counts the activations between the convolutions too.
        add(f"encoder.conv{name}.conv.", f"encoder.stages.{int(stage) - 1}.{2 * int(part)}.")
    for level in range(3):
        add(f"decoder.input_proj.{level}.", f"query_decoder.projections.{level}.")
    for layer in range(_LAYERS):
        for official, ours in _LAYER.items():
            add("decoder." + official.format(layer), f"query_decoder.layers.{layer}.{ours}")
    add("decoder.query_embed.", "query_decoder.query_embed.", ("weight",))
    add("decoder.level_embed.", "query_decoder.level_embed.", ("weight",))
    for level, name in enumerate(_PREDICT):
        add(f"decoder.predict_flow{name}.conv.", f"pixel_decoder.predict.{level}.", ("weight",))
    for step, number in enumerate((5, 4, 3, 2)):
        add(f"decoder.upsample_flow{number}.conv.", f"pixel_decoder.upsample_flow.{step}.", ("weight",))
        add(f"decoder.deconv{number}.conv.", f"pixel_decoder.upsample_features.{step}.", ("weight",))
    add("decoder.decoder_norm.", "segment_head.query_norm.")
    for number in range(3):
        add(f"decoder.output_head.layers.{number}.", f"segment_head.query_mlp.{2 * number}.")
        add(f"decoder.scale_layer.layers.{number}.", f"segment_head.map_mlp.{2 * number}.")
    add("decoder.fuse_layer.conv.", "fuse.conv.")
    return names
