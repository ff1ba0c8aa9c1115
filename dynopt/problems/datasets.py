"""Labelled examples: clouds drawn here, the small sets of scikit-learn, and the user's own."""

import importlib
import reprlib
from typing import Any

import numpy as np

from ..checks import is_concrete
from ..errors import EnvironmentProblem, InvalidType, InvalidValue, unknown_name
from .arrays import number_array, real_array


def labelled_examples(
    data: Any, names: tuple[str, ...], sizes: tuple[int, ...]
) -> tuple[Any, np.ndarray]:
    """Features (examples, features) and labels (examples,) of a set by name, or of the user's own.

    Sets with a name are standardised: each feature that varies has mean 0 and deviation 1.

    - `data`: a name, or (features, labels).
    - `names`: the sets that are known, besides "clouds".
    - `sizes`: the number of points in each cloud.

    **Raises:** `UnknownName`, `InvalidType` and `InvalidValue` for what is no such set;
    `EnvironmentProblem` if scikit-learn is needed and missing.
    """
    if isinstance(data, str):
        if data not in ("clouds", *names):
            raise unknown_name("data set", data, ("clouds", *names))
        features, labels = clouds(sizes) if data == "clouds" else from_scikit_learn(data)
        deviation = features.std(0)
        return (features - features.mean(0)) / np.where(deviation > 0, deviation, 1), labels
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise InvalidType(
            f"`data` must be a name or (features, labels), got {reprlib.repr(data)}; pass such a "
            "pair."
        )
    features = real_array("features", data[0])
    if np.ndim(features) != 2 or 0 in np.shape(features):
        raise InvalidValue(
            f"`features` have shape {np.shape(features)}; pass (examples, features), one row for "
            "each example."
        )
    return features, _as_labels(data[1], len(features))


def clouds(sizes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Overlapping clouds in the plane, around evenly spaced points of a circle; always the same."""
    # RandomState is the one generator whose numbers numpy promises never to change.
    generator = np.random.RandomState(0)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    angle = 2 * np.pi * labels / len(sizes)
    centers = 1.5 * np.stack([np.cos(angle), np.sin(angle)], -1)
    return centers + generator.normal(size=(len(labels), 2)), labels


def from_scikit_learn(
    name: str, instead: str = ", or use data='clouds'"
) -> tuple[np.ndarray, np.ndarray]:
    """Features and labels of a set of scikit-learn as they are.

    - `instead`: how the message for those without scikit-learn ends, if there is another remedy.

    **Raises:** `EnvironmentProblem` if scikit-learn is missing.
    """
    try:
        load = getattr(importlib.import_module("sklearn.datasets"), f"load_{name}")
    except ImportError as error:
        raise EnvironmentProblem(
            f"the data set {name!r} comes with scikit-learn, which is missing; install it with "
            f"pip install scikit-learn{instead}."
        ) from error
    return load(return_X_y=True)


def _as_labels(labels: Any, num_examples: int) -> np.ndarray:
    if not is_concrete(labels):
        raise InvalidType(
            "`labels` are traced, so the number of classes is unknown; make the problem outside of "
            "jax.jit."
        )
    labels = number_array("labels", labels)
    if labels.shape != (num_examples,):
        raise InvalidValue(
            f"`labels` have shape {labels.shape}; pass ({num_examples},), one for each row of "
            "`features`."
        )
    wrong = np.flatnonzero((labels < 0) | (labels != np.floor(labels)))
    if wrong.size:
        raise InvalidValue(
            f"`labels` is {labels[wrong[0]]} at example {wrong[0]}; pass whole numbers from 0 on."
        )
    present = np.unique(labels)
    missing = next((c for c, label in enumerate(present) if c != label), len(present))
    if missing < max(2, len(present)):
        raise InvalidValue(
            f"`labels` never are {missing}, though {present[-1]:g} is the largest; pass "
            "0 ... classes-1, each at least once."
        )
    return labels.astype(int)
