"""The errors that dynopt raises: one class per cause, with a remedy at the end of each message."""

import difflib
from collections.abc import Iterable
from functools import partial as bind


class DynoptError(Exception):
    """The base class of every error that dynopt raises on purpose."""


class InvalidValue(DynoptError, ValueError):
    """A number, a shape or a combination of arguments is not allowed."""


class InvalidType(DynoptError, TypeError):
    """An argument has the wrong type, such as text for a number, or is missing."""


class UnknownName(InvalidValue):
    """No optimizer, problem, option or other entry of a list has this name."""


class CorruptFile(InvalidValue):
    """A saved file does not contain what its header promises."""


class ProblemError(DynoptError, ValueError):
    """The loss to be minimised cannot be used; the original error is chained."""


class SolverFailure(DynoptError, RuntimeError):
    """A run did not reach its last step.

    - `partial`: the `Trajectory` of full length, in which everything up to the failure is kept.
    - `status`: its `Status`.
    - `t_reached`: the last time at which the run was finite.
    """

    def __init__(self, message: str, *, partial, status, t_reached: float):
        super().__init__(message)
        self.partial = partial
        self.status = status
        self.t_reached = t_reached

    def __reduce__(self):  # so that a worker process can raise it in its parent
        fields = {"partial": self.partial, "status": self.status, "t_reached": self.t_reached}
        return bind(type(self), **fields), self.args


class Interrupted(KeyboardInterrupt):
    """Ctrl-C ended a run. It ends the program, too, unless this is caught.

    - `partial`: the `Trajectory` of full length. Its last finite point is the one where it was
      stopped, at the time of that, and after it all is NaN.
    """

    def __init__(self, *args, message: str, partial):
        super().__init__(*args)
        self.message = message
        self.partial = partial

    def __str__(self) -> str:
        return self.message

    def __reduce__(self):
        return bind(type(self), message=self.message, partial=self.partial), self.args


class OutputError(DynoptError, OSError):
    """A file cannot be written."""


class EnvironmentProblem(DynoptError, RuntimeError):
    """The machine lacks something that was asked for, such as an installed package."""


def unknown_name(
    kind: str, name: str, known: Iterable[str], meant: str | None = None
) -> UnknownName:
    """The error for a mistyped name, which suggests similar names and lists the `known` ones.

    It suggests the name that was `meant`, if that is known, or else up to three similar names.

    >>> print(unknown_name("optimizer", "adm", ["sgd", "adam"]))
    no optimizer 'adm'; did you mean adam? Known: sgd, adam.
    """
    known = list(known)
    by_folded_name = {k.casefold(): k for k in known}
    similar = difflib.get_close_matches(name.casefold(), by_folded_name, n=3, cutoff=0.5)
    suggestions = [meant] if meant in known else [by_folded_name[folded] for folded in similar]
    hint = f"; did you mean {' or '.join(suggestions)}?" if suggestions else "."
    short_name = name if len(name) <= 60 else name[:57] + "..."
    shown = known if len(known) <= 30 else [*known[:20], "..."]
    return UnknownName(f"no {kind} {short_name!r}{hint} Known: {', '.join(shown)}.")
