"""How a run ended: one table of statuses, each with a short form, a long form and advice."""

import enum


class Status(enum.IntEnum):
    """How a run ended.

    A batch holds one integer per run, so that `batch.result == Status.ok` is a mask.

    - `short`: a word or two, for a legend.
    - `long`: a predicate, for a sentence about one run. `{where}` stands for the step of a map or
      the time of a flow, `{t}` for the last time at which the run was finite.
    - `advice`: what may help; `{dtype}` stands for the dtype of the run.

    >>> Status.diverged.short, Status.diverged.long.format(where="at step 37")
    ('diverged', 'diverged at step 37')
    """

    short: str
    long: str
    advice: str

    def __new__(cls, value: int, short: str, long: str, advice: str):
        status = int.__new__(cls, value)
        status._value_, status.short, status.long, status.advice = value, short, long, advice
        return status

    ok = 0, "ok", "reached its end", ""
    diverged = (
        # The position came farther from 0 than (1 + |x0|)/√ε, or became infinite.
        1,
        "diverged",
        "diverged {where}",
        "try a smaller `learning_rate`",
    )
    nonfinite = (
        # A loss, gradient or memory became NaN or infinite while the position was not far away.
        2,
        "not finite",
        "met NaN or infinity {where}",
        "try a smaller `learning_rate`",
    )
    stalled = (
        # No step moved the position, though the gradient is not zero.
        3,
        "never moved",
        "never moved",
        "each step is below the spacing of {dtype}; use a larger `learning_rate` or float64",
    )
    max_steps = (
        # The solver used up its steps.
        4,
        "unsolved",
        "could not be solved beyond t = {t}",
        "the solver used up its steps; use diffrax.Kvaerno5() or more `max_steps`",
    )
    tolerance_unreachable = (
        # The solver used up its steps, and its tolerance is finer than the dtype.
        5,
        "unsolved",
        "could not be solved beyond t = {t}",
        "its tolerance is out of reach in {dtype}; loosen `rtol` or use float64",
    )
    singular_start = (
        # The vector field is not finite at the start.
        6,
        "no finite start",
        "has no finite start",
        "its vector field is not finite there; start elsewhere or use a positive `eps`",
    )
    interrupted = (
        # The run was stopped from outside.
        7,
        "stopped",
        "was stopped {where}",
        "run it again",
    )
    sliding = (
        # The solver used up its steps where the vector field jumps and points to the jump from
        # both sides, or where jumps surround a minimizer.
        8,
        "slides",
        "slides along a jump of its vector field from t = {t}",
        "solvers cannot pass that; run fewer steps, or smooth the jump: in the loss, as smooth=8 "
        "does in spectral_shrinkage, or by a `smoothing` of the size of the gradient in Signum and "
        "Lion",
    )

    def __str__(self) -> str:
        return self.name


# Runs that ended with one of these may be solved with a looser tolerance or an implicit solver.
GAVE_UP = (Status.max_steps, Status.tolerance_unreachable, Status.sliding)
