"""Check of a composed configuration against the models of its options and the parameters of its ``_target_`` nodes."""

import difflib
from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple, get_args, get_origin

from pydantic import ConfigDict, TypeAdapter, ValidationError

from src.options.fields import Options
from src.options.signatures import is_callable_name, parameters

_STRICT = ConfigDict(strict=True, allow_inf_nan=False)
# Keys of a node with a `_target_` that Hydra reads itself.
_FLAGS: dict[str, Any] = {
    "_partial_": bool,
    "_recursive_": bool,
    "_convert_": Literal["none", "partial", "object", "all"],
    "_args_": list[Any],
}


class Problem(NamedTuple):
    """Option that is refused: its dotted key and the reason, one line."""

    key: str
    reason: str


def check(model: type[Options], values: dict[str, Any]) -> list[Problem]:
    """Return the problems of a configuration: types, ranges, unknown and missing keys, arguments of ``_target_`` nodes."""
    return [*_of_model(model, values, ""), *_of_targets(values, "")]


def describe(kind: Any) -> str:
    """Describe a type and its range in a few words: ``integer 0..51 | null``."""
    return _described(_adapter(kind).json_schema())


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``; did you mean x?`` for the most similar of the known names, or nothing."""
    close = difflib.get_close_matches(name, [str(one) for one in known], n=1)
    return f"; did you mean {close[0]}?" if close else ""


def kinds_of(model: type[Options], values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted key and the type of every option that the model describes, at any depth."""
    for name, field in model.model_fields.items():
        inner = _inner(field.annotation)
        if inner is not None and isinstance(values.get(name), dict):
            yield from kinds_of(inner, values[name], f"{prefix}{name}.")
        elif name in values:
            yield f"{prefix}{name}", field.rebuild_annotation()


def targets(values: Any, prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every mapping with a ``_target_``, at any depth, with its dotted key."""
    if isinstance(values, dict) and "_target_" in values:
        yield prefix, values
    items = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    for name, value in items:
        yield from targets(value, f"{prefix}.{name}" if prefix else str(name))


def _of_model(model: type[Options], values: dict[str, Any], prefix: str) -> Iterator[Problem]:
    fields = model.model_fields
    for name, field in fields.items():
        if name not in values:
            if field.is_required():
                yield Problem(f"{prefix}{name}", f"is not given; expected {describe(field.rebuild_annotation())}")
            continue
        inner = _inner(field.annotation)
        if inner is not None and isinstance(values[name], dict):
            yield from _of_model(inner, values[name], f"{prefix}{name}.")
        else:
            yield from _of_value(field.rebuild_annotation(), values[name], f"{prefix}{name}")
    if model.model_config.get("extra") == "forbid":
        for name in values.keys() - fields.keys():
            yield Problem(f"{prefix}{name}", f"is no option{did_you_mean(name, fields)}")


def _of_targets(values: dict[str, Any], prefix: str) -> Iterator[Problem]:
    for key, node in targets(values, prefix):
        target = node["_target_"]
        for name in _FLAGS.keys() & node.keys():
            yield from _of_value(_FLAGS[name], node[name], f"{key}.{name}")
        if not isinstance(target, str) or not is_callable_name(target):
            yield Problem(f"{key}._target_", f"is {_shown(target)}; expected the dotted name of a class or function that exists")
            continue
        known = parameters(target)
        if known is None:
            continue
        for name, value in node.items():
            if name.startswith("_"):
                continue
            if name not in known:
                expected = f"; expected some of {', '.join(known)}" if known else ""
                yield Problem(f"{key}.{name}", f"is no option of {node['_target_']}{did_you_mean(name, known) or expected}")
            elif not any(True for _ in targets(value)):
                yield from _of_value(known[name], value, f"{key}.{name}")


def _of_value(kind: Any, value: Any, key: str) -> Iterator[Problem]:
    try:
        _adapter(kind).validate_python(value)
    except ValidationError as error:
        part, parts = error.errors()[0]["loc"][:1], _parts(kind)
        if isinstance(value, dict) and parts is not None and part and part[0] in value:
            yield from _of_value(parts, value[part[0]], f"{key}.{part[0]}")
            return
        schema = _adapter(kind).json_schema()
        choices = _choices(schema)
        wrong = [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str) and one not in choices]
        close = did_you_mean(wrong[0], choices) if wrong else ""
        yield Problem(key, f"is {_shown(value)}; expected {_described(schema)}{close}")


def _parts(kind: Any) -> Any:
    """Return the type of the values of a mapping, or ``None`` for other types."""
    return next((get_args(one)[1] for one in (kind, *get_args(kind)) if get_origin(one) is dict), None)


def _inner(annotation: Any) -> type[Options] | None:
    """Return the model of a nested mapping, or ``None`` for a plain value."""
    for kind in (annotation, *get_args(annotation)):
        if isinstance(kind, type) and issubclass(kind, Options):
            return kind
    return None


def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind, config=None if isinstance(kind, type) and issubclass(kind, Options) else _STRICT)


def _described(schema: dict[str, Any]) -> str:
    if "text" in schema:
        return str(schema["text"])
    if "anyOf" in schema:
        return " | ".join(_described(one) for one in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return " | ".join(str(one) for one in schema.get("enum", [schema.get("const")]))
    kind = schema.get("type", "any")
    if kind in ("integer", "number"):
        return f"{kind}{_range(schema)}"
    if kind == "array":
        items, least, most = _described(schema.get("items", {})), schema.get("minItems"), schema.get("maxItems")
        return f"[{', '.join([items] * most)}]" if most and least == most else f"{'non-empty ' if least else ''}list of {items}"
    return {"boolean": "true | false", "string": "text", "object": "mapping"}.get(kind, str(kind))


def _range(schema: dict[str, Any]) -> str:
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None and most is not None:
        return f" {least}..{most}"
    bounds = {"exclusiveMinimum": ">", "minimum": ">=", "exclusiveMaximum": "<", "maximum": "<="}
    return " and".join(f" {sign} {schema[name]}" for name, sign in bounds.items() if name in schema)


def _choices(schema: dict[str, Any]) -> list[str]:
    own = schema.get("enum", [schema["const"]] if "const" in schema else [])
    parts = [*schema.get("anyOf", []), *([schema["items"]] if "items" in schema else [])]
    return [str(one) for one in own] + [one for part in parts for one in _choices(part)]


def _shown(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
