"""What can go wrong, one class per cause; every message is one sentence that ends in a remedy."""

import difflib
from collections.abc import Iterable


class DynoptError(Exception):
    """Base of every error that dynopt raises on purpose."""


class InvalidValue(DynoptError, ValueError):
    """A number, shape or combination outside what is allowed."""


class InvalidType(DynoptError, TypeError):
    """A value of the wrong kind: text for a number, a missing argument."""


class UnknownName(InvalidValue):
    """A name that nothing here answers to."""


class CorruptFile(InvalidValue):
    """A saved file that cannot be what it says it is."""


class ProblemError(DynoptError, ValueError):
    """The loss to be minimised cannot be used; the original error is chained."""


class SolverFailure(DynoptError, RuntimeError):
    """A run that did not reach its end.

    - `partial`: the `Trajectory`, whole, with its finite beginning intact.
    - `status`: its `Status`.
    - `t_reached`: the last time at which the run was finite.
    """

    def __init__(self, message: str, *, partial, status, t_reached: float):
        super().__init__(message)
        self.partial = partial
        self.status = status
        self.t_reached = t_reached


class OutputError(DynoptError, OSError):
    """A file that cannot be written."""


class EnvironmentProblem(DynoptError, RuntimeError):
    """The machine lacks what was asked for."""


def unknown_name(
    kind: str, name: str, known: Iterable[str], meant: str | None = None
) -> UnknownName:
    """The error for a mistyped name, with the one that was `meant` or up to three near ones, and the whole list.

    >>> print(unknown_name("optimizer", "adm", ["sgd", "adam"]))
    no optimizer 'adm'; did you mean adam? Known: sgd, adam.
    """
    known = list(known)
    folded = {k.casefold(): k for k in known}
    near = difflib.get_close_matches(name.casefold(), folded, n=3, cutoff=0.5)
    near = [meant] if meant in known else [folded[n] for n in near]
    shown = name if len(name) <= 60 else name[:57] + "..."
    guess = f"; did you mean {' or '.join(near)}?" if near else "."
    return UnknownName(f"no {kind} {shown!r}{guess} Known: {', '.join(known)}.")
