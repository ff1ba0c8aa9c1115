"""What is written into files."""

import os
import re

import numpy as np
import pytest

from dynopt.compare.provenance import may_write, shortened
from dynopt.errors import OutputError


def points(path: str) -> np.ndarray:
    """Every point of a path that is written point by point from the one before, as SVG reads it."""
    here, start, seen = np.zeros(2), np.zeros(2), []
    for letter, numbers in re.findall(r"([mlqcz])([^mlqcz]*)", path):
        steps = np.array([float(v) for v in re.findall(r"-?\d*\.?\d+", numbers)])
        if letter == "z":
            here = start
        for group in steps.reshape(-1, {"q": 2, "c": 3}.get(letter, 1), 2):
            seen.extend(here + group)
            here = here + group[-1]
        start = here if letter == "m" else start
    return np.array(seen)


def test_a_short_path_has_the_same_points_to_half_a_hundredth():
    random = np.random.default_rng(0)
    at = np.cumsum(random.normal(size=(400, 2)), 0)
    words, i = [], 0
    for letter, n in 30 * (("M", 1), ("L", 1), ("L", 1), ("Q", 2), ("C", 3), ("C", 3), ("z", 0)):
        words.append(" ".join([letter, *(f"{a:.6f} {b:.6f}" for a, b in at[i : i + n])]))
        i += n
    path = " ".join(words)
    assert np.abs(points(shortened(path)) - at[:i]).max() < 0.005 + 1e-9
    assert len(shortened(path)) < 0.55 * len(path)


def test_a_path_that_is_written_otherwise_is_left_alone():
    assert shortened("M 1 2 A 1 1 0 0 0 3 4") == "M 1 2 A 1 1 0 0 0 3 4"
    assert shortened("") == ""


def test_a_pipe_is_refused_before_anything_is_computed(tmp_path):
    """To look into it would wait for ever."""
    os.mkfifo(tmp_path / "pipe.npz")
    for force in (False, True):
        with pytest.raises(OutputError, match="pipe.npz' is no ordinary file; choose another name"):
            may_write(tmp_path / "pipe.npz", force=force)
