"""The pages of the contents list, as the theorems ask for them."""

from dynopt import Problem
from dynopt.optimizers import catalogue

# Options under which a page is smooth and starts without a layer.
WARM = {
    "rmsprop": {"bias_correction": True},
    "adagrad": {"initial_accumulator_value": 1e6},
    "signum": {"smoothing": 20.0},
    "lion": {"smoothing": 20.0},
    "muon": {"exact": True},
}


def plain(rate, names=tuple(catalogue)):
    """Each page as its defaults make it, by name."""
    return {name: catalogue[name](rate) for name in names}


def warm(rate, names=tuple(catalogue)):
    """Each page where it is smooth, by name."""
    return {name: catalogue[name](rate, **WARM.get(name, {})) for name in names}


def fitting(page, problem):
    """The problem, posed to a page that moves matrices as one whose position is a column."""
    if page.elementwise:
        return problem
    return Problem(Column(problem.loss), problem.x0.reshape(-1, 1), name=problem.name)


class Column:
    """A loss of vectors as one of columns; equal for equal losses, so that nothing compiles twice."""

    def __init__(self, loss):
        self.loss = loss

    def __call__(self, x):
        return self.loss(x[:, 0])

    def __eq__(self, other):
        return isinstance(other, Column) and self.loss == other.loss

    def __hash__(self):
        return hash(Column) ^ hash(self.loss)
