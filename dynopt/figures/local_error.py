"""The local error: what each single step of the map misses."""

from matplotlib.axes import Axes

from ..analysis import LocalError
from .drawing import error_curves as errors, runs
from .drawing.captions import called, claim, failures, largest, own_error
from .drawing.picture import Panel, Picture, drawn, several
from .drawing.words import failure, number


def draw(
    results: LocalError | list[LocalError], *, ax: Axes | None = None, style: str = "notebook"
) -> Picture | Axes:
    """The error of each step, restarted on the map, on a logarithmic axis, above the solver's own error (dotted).

    - `results`: one or several `analysis.local_error` of one problem. - `ax`: axes to draw in, instead of a new
      `Picture`. - `style`: "notebook", "paper" or "slides".

    **Raises:** `InvalidValue` if the results are of several problems.
    """
    return drawn(paint, describe, several(results, LocalError, "analysis.local_error"), ax, style)


def describe(results: LocalError | list[LocalError]) -> str:
    """The picture in one sentence with its numbers."""
    local = several(results, LocalError, "analysis.local_error")
    said = []
    for result, _, name, _ in runs.entries(local):
        said.append(f"{name} {failure(result.map) or f'at most {number(largest(result.error))}'}")
    own = f"the solver's own error is at most {number(own_error(local))}"
    what = f"Error of one step of the map against the flow over the same time, along the run on {called(local[0])}"
    return f"{what}: {'; '.join(said)}; {own}."


def paint(ax: Axes, local: list[LocalError]) -> Panel:
    """Draw in the axes, and say what stands around them."""
    return errors.paint(ax, local, "local error", "one-step error  |x_map − x_flow|", _title(local))


def _title(local: list[LocalError]) -> str:
    """Whose steps miss most, and whose least."""
    whole = {name: largest(r.error) for r, _, name, _ in runs.entries(local) if not failure(r.map)}
    if not whole:
        return claim(local, "" if failures(local) else "no step could be measured")
    far, near = max(whole, key=lambda name: whole[name]), min(whole, key=lambda name: whole[name])
    if len(whole) == 1:
        return claim(local, f"one step of {far} misses its flow by at most {number(whole[far], 2)}")
    said = f"one step misses its flow by at most {number(whole[far], 2)} with {far}"
    return claim(local, f"{said}, by {number(whole[near], 2)} with {near}")
