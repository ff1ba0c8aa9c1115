"""00 · Start here."""

from solving import Solution

from dynopt import Adam, iterate, problems


def time(steps: int) -> float:
    return float(iterate(Adam(0.02), problems.rosenbrock(), steps).t[-1])


SOLUTIONS = {
    "00-a": Solution(
        lambda: (time(450),),
        [
            (450, "is the number of steps"),
            (0.02, "the time of one step"),
            (450 / 0.02, "do not divide"),
        ],
        exact=9.0,
        absolute=0.4,
    )
}
