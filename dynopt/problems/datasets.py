"""Closed sets of labelled examples: clouds drawn here, the small sets that come with scikit-learn, and one's own."""

import importlib
import reprlib
from typing import Any

import numpy as np

from ..checks import is_concrete
from ..errors import EnvironmentProblem, InvalidType, InvalidValue, unknown_name
from .arrays import numbers, reals


def labelled(data: Any, known: tuple[str, ...], sizes: tuple[int, ...]) -> tuple[Any, np.ndarray]:
    """Features, (examples, features), and labels, (examples,): those of a set by name, or one's own if they fit.

    Sets with a name are standardised: each feature that varies has mean 0 and deviation 1.

    - `known`: the names besides "clouds". - `sizes`: of the clouds.

    **Raises:** `UnknownName`, `InvalidType` and `InvalidValue` for what is no such set; `EnvironmentProblem` if
    scikit-learn is wanted and missing.
    """
    if isinstance(data, str):
        if data not in ("clouds", *known):
            raise unknown_name("data set", data, ("clouds", *known))
        features, labels = clouds(sizes) if data == "clouds" else _bundled(data)
        deviation = features.std(0)
        return (features - features.mean(0)) / np.where(deviation > 0, deviation, 1), labels
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise InvalidType(
            f"`data` must be a name or (features, labels), got {reprlib.repr(data)}; pass such a pair."
        )
    features = reals("features", data[0])
    if np.ndim(features) != 2 or 0 in np.shape(features):
        raise InvalidValue(
            f"`features` have shape {np.shape(features)}; pass (examples, features), a row for each."
        )
    return features, _as_labels(data[1], len(features))


def clouds(sizes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """In the plane, around evenly spaced points of a circle, overlapping: always the same ones."""
    draw = np.random.RandomState(
        0
    )  # the one generator whose numbers numpy promises never to change
    labels = np.repeat(np.arange(len(sizes)), sizes)
    angle = 2 * np.pi * labels / len(sizes)
    return 1.5 * np.stack([np.cos(angle), np.sin(angle)], -1) + draw.normal(
        size=(len(labels), 2)
    ), labels


def _bundled(name: str) -> tuple[np.ndarray, np.ndarray]:
    try:
        load = getattr(importlib.import_module("sklearn.datasets"), f"load_{name}")
    except ImportError as error:
        raise EnvironmentProblem(
            f"the data set {name!r} comes with scikit-learn, which is missing; install it with "
            "pip install scikit-learn, or use data='clouds'."
        ) from error
    return load(return_X_y=True)


def _as_labels(labels: Any, examples: int) -> np.ndarray:
    if not is_concrete(labels):
        raise InvalidType(
            "`labels` are traced, so nobody can count the classes; make the problem outside of jax.jit."
        )
    labels = numbers("labels", labels)
    if labels.shape != (examples,):
        raise InvalidValue(
            f"`labels` have shape {labels.shape}; pass ({examples},), one for each row of `features`."
        )
    odd = np.flatnonzero((labels < 0) | (labels != np.floor(labels)))
    if odd.size:
        raise InvalidValue(
            f"`labels` is {labels[odd[0]]} at example {odd[0]}; pass whole numbers from 0 on."
        )
    present = np.unique(labels)
    comparison = next((c for c, label in enumerate(present) if c != label), len(present))
    if comparison < max(2, len(present)):
        found = f"{present[-1]:g} is the largest"
        raise InvalidValue(
            f"`labels` never are {comparison}, though {found}; pass 0 ... classes-1, each at least once."
        )
    return labels.astype(int)
