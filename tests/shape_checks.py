"""Shape checks of annotated functions: installed for the whole test suite, absent everywhere else."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar, get_args

import jaxtyping
import torch
from beartype import beartype

P = ParamSpec("P")
R = TypeVar("R")


def checked(function: Callable[P, R]) -> Callable[P, R | None]:
    """Check the arguments with a shape annotation; leave all others to mypy and to the function's own errors.

    Inside ``torch.compile`` nothing is checked: Dynamo cannot trace jaxtyping's ``isinstance`` hooks.
    """
    annotations = function.__annotations__
    if not any(map(_has_shape, annotations.values())):
        return function
    function.__annotations__ = {name: kind if _has_shape(kind) else Any for name, kind in annotations.items()}
    check = beartype(function)

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R | None:
        return None if torch.compiler.is_compiling() else check(*args, **kwargs)

    return call


def _has_shape(annotation: object) -> bool:
    if isinstance(annotation, type) and issubclass(annotation, jaxtyping.AbstractArray):
        return True
    return any(map(_has_shape, get_args(annotation)))
