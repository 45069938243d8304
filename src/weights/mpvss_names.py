"""Names of the flow estimators' weights in published checkpoints and in ours."""

from __future__ import annotations

from functools import cache

MOTION_PREFIX = "motion."
"""Prefix of the names of :func:`motion_names` in published whole-model checkpoints."""

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
def motion_names(layers: int = 9) -> dict[str, str]:
    """Map each tensor of the published motion module (without prefix) to its name in our ``QueryFlow``; shapes are equal.

    The mapping is one to one.

    Args:
        layers: number of layers of the query decoder.
    """
    names = _flownet("encoder.", "decoder.")

    def add(official: str, ours: str, kinds: tuple[str, ...] = _BOTH) -> None:
        names.update({official + kind: ours + kind for kind in kinds})

    for level in range(3):
        add(f"decoder.input_proj.{level}.", f"query_decoder.projections.{level}.")
    for layer in range(layers):
        for official, ours in _LAYER.items():
            add("decoder." + official.format(layer), f"query_decoder.layers.{layer}.{ours}")
    if layers:
        add("decoder.query_embed.", "query_decoder.query_embed.", ("weight",))
    add("decoder.level_embed.", "query_decoder.level_embed.", ("weight",))
    add("decoder.decoder_norm.", "segment_head.query_norm.")
    for number in range(3):
        add(f"decoder.output_head.layers.{number}.", f"segment_head.query_mlp.{2 * number}.")
        add(f"decoder.scale_layer.layers.{number}.", f"segment_head.map_mlp.{2 * number}.")
    add("decoder.fuse_layer.conv.", "fuse.conv.")
    return names


@cache
def flownet_names() -> dict[str, str]:
    """Map each tensor of mmtracking's ``FlowNetSimple`` (``flownet_simple.pth``) to its name in our ``PixelFlow``."""
    return _flownet("", "")


def _flownet(encoder: str, decoder: str) -> dict[str, str]:
    """Map the tensors of FlowNetS; the published motion module has prefixes for its two halves, FlowNetSimple has none."""
    names: dict[str, str] = {}
    for name in _ENCODER:
        stage, part = name.split(".")
        for kind in _BOTH:
            # Our indices also count the activations between the convolutions.
            names[f"{encoder}conv{name}.conv.{kind}"] = f"encoder.stages.{int(stage) - 1}.{2 * int(part)}.{kind}"
    for level, name in enumerate(_PREDICT):
        names[f"{decoder}predict_flow{name}.conv.weight"] = f"pixel_decoder.predict.{level}.weight"
    for step, number in enumerate((5, 4, 3, 2)):
        names[f"{decoder}upsample_flow{number}.conv.weight"] = f"pixel_decoder.upsample_flow.{step}.weight"
        names[f"{decoder}deconv{number}.conv.weight"] = f"pixel_decoder.upsample_features.{step}.weight"
    return names
