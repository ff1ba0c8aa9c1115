"""The slope of log(error) over log(h): its fit, and what it says about the declared order."""

from typing import Literal

import numpy as np

MIN_POINTS = 3  # the smallest number of points in a fit
STEADY = 0.02  # pairwise slopes that differ by less from the finest one belong to one line
UNSETTLED = 0.1  # a fit whose first and last pairwise slopes differ by more than this is doubtful
SLOPE_TOLERANCE = 0.25  # orders are multiples of 1/2: nearer than this, no other one is meant
STANDARD_ERRORS = 5  # a slope within so many of them may be the declared one

Verdict = Literal["agrees", "differs", "still changes", "no fit"]


def find_window(is_clear: np.ndarray, pairwise: np.ndarray) -> tuple[int, int] | None:
    """The first and the last point of the fit; None if fewer than three points serve.

    From the finest clear point it reaches back while points are clear and slopes are steady.
    """
    last = int(np.flatnonzero(is_clear)[-1]) if is_clear.any() else 0
    first = last
    while (
        first > 0
        and is_clear[first - 1]
        and (last - first < 2 or abs(pairwise[first - 1] - pairwise[last - 1]) < STEADY)
    ):
        first -= 1
    return (first, last) if last - first + 1 >= MIN_POINTS else None


def fit_line(x: np.ndarray, y: np.ndarray, inside: slice) -> tuple[float, float]:
    """The slope of the straight line through the points inside, and its standard error."""
    x, y = x[inside] - x[inside].mean(), y[inside] - y[inside].mean()
    slope = x @ y / (x @ x)
    residual = y - slope * x
    return float(slope), float(np.sqrt(residual @ residual / (len(x) - 2) / (x @ x)))


def judge(slope: float, stderr: float, fitted: np.ndarray, expected: float) -> Verdict:
    """Whether a slope is the expected one.

    - `fitted`: the pairwise slopes inside the window of the fit, from coarse to fine; empty if
      there is no fit.
    """
    if not len(fitted):
        return "no fit"
    if abs(fitted[0] - fitted[-1]) > UNSETTLED:
        return "still changes"
    is_near = abs(slope - expected) <= max(SLOPE_TOLERANCE, STANDARD_ERRORS * stderr)
    return "agrees" if is_near else "differs"


def explain(slope: float, expected: float, is_corrected: bool) -> str:
    """What it means that the slope differs from the expected one, and what to do next.

    - `is_corrected`: whether the flow is that of a modified equation.
    """
    if slope < SLOPE_TOLERANCE:
        return (
            "the vector field is not the limit of the map, unless a smaller `learning_rate` or a "
            "shorter `time` gives another slope; let dynopt.check_optimizer look for the reason"
        )
    if slope > expected:
        return (
            "the map is nearer to its flow here than declared, which is no fault; if it is so on "
            "other problems, too, an optimizer of your own may declare "
            f"order={round(2 * slope) / 2:g} in its `regularity`"
        )
    if is_corrected and abs(slope - max(1, round(slope))) <= SLOPE_TOLERANCE:
        return (
            "the correction of the flow is not that of this map, which follows it to order "
            f"{slope:.0f} only, unless a smaller `learning_rate` gives another slope; compare the "
            "map with the flow of the inner optimizer"
        )
    return (
        "a memory that starts near 0, a corner in the map or noise can lower the order; use a "
        "smaller `learning_rate`, or start the memory from a larger value"
    )
