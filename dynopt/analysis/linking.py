"""How well ambiguous names are linked to entities, beside what counting mentions gives."""

from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Int

from ..checks import accepts, must_be_concrete
from ..errors import InvalidType, InvalidValue
from ..optimizers import AbstractOptimizer
from ..problems import Problem
from ..problems.problem import must_be_problem
from ..runs.trajectory import Trajectory


class Linking(eqx.Module):
    """The entities that are predicted for mentions, and how many of them are right.

    - `right`, `predicted`: the entities that are meant, and those with the largest scores, shape
      `(n,)` each; of equal scores the first counts.
    - `prior`: for each mention the entity of its name with most mentions in the data of the
      problem, same shape: the prediction without the context.
    - `optimizer`: that of the run; None for a bare position.
    - `problem`: the problem.
    """

    right: Int[np.ndarray, " n"]
    predicted: Int[np.ndarray, " n"]
    prior: Int[np.ndarray, " n"]
    optimizer: AbstractOptimizer | None
    problem: Problem

    @property
    def accuracy(self) -> float:
        """The fraction of the mentions whose entity is predicted."""
        return float((self.predicted == self.right).mean())

    @property
    def macro_f1(self) -> float:
        """The mean over entities of F₁ = 2 TP / (2 TP + FP + FN), in which all count the same."""
        return macro_f1(self.right, self.predicted)

    @property
    def prior_accuracy(self) -> float:
        """The accuracy of `prior`."""
        return float((self.prior == self.right).mean())

    @property
    def prior_macro_f1(self) -> float:
        """The macro-averaged F₁ of `prior`."""
        return macro_f1(self.right, self.prior)

    def __repr__(self) -> str:
        subject = "" if self.optimizer is None else f"{self.optimizer} on "
        return (
            f"Linking({subject}{self.problem.name}, accuracy {self.accuracy:.3f} (prior alone "
            f"{self.prior_accuracy:.3f}), macro F1 {self.macro_f1:.3f} (prior alone "
            f"{self.prior_macro_f1:.3f}))"
        )


def linking(problem: Problem, x: Any = None, data: Any = None) -> Linking:
    """Which entities are predicted for mentions that were not learned from.

    The accuracy counts mentions, and so the frequent entities most; the macro-averaged F₁ counts
    all entities alike. Both stand beside the prediction without any context, the entity that has
    most mentions in the data. Names are given: finding them in a text is no part of the task.

    - `x`: a position, by default the start of the problem; or a run, of which the last finite
      position is taken.
    - `data`: mentions as the data of the problem, `(contexts, candidates, labels)`; by default the
      unseen ones of the problem. `problem.loss.uniform` has all entities equally often.

    The loss of the problem has functions `scores(x, contexts, candidates)` and `groups(data)`, as
    those of `problems.entity_linking` do.

    **Raises:** `InvalidValue` if it has not, and inside a JAX transformation; `InvalidType` or
    `InvalidValue` as `Problem.start` does, if `x` is no position of the problem.

    >>> from dynopt import Adam, iterate, problems
    >>> problem = problems.entity_linking(mentions=1000)
    >>> result = linking(problem, iterate(Adam(0.03), problem, 100))
    >>> print(f"{result.accuracy:.2f}, {result.prior_accuracy:.2f}")
    0.93, 0.48
    """
    must_be_problem(problem)
    must_be_concrete("linking", problem, x, data)
    loss: Any = problem.loss
    scores, groups = (getattr(loss, name, None) for name in ("scores", "groups"))
    if scores is None or groups is None or not accepts(scores, x, x, x):
        raise InvalidValue(
            "linking needs a loss with functions scores(x, contexts, candidates) and groups(data), "
            f"which {problem.name} does not have; use problems.entity_linking."
        )
    optimizer = x.optimizer if isinstance(x, Trajectory) else None
    position = problem.start(x.last if isinstance(x, Trajectory) else x)
    data = loss.unseen if data is None else data
    if not isinstance(data, tuple | list) or len(data) != 3:
        raise InvalidType(
            f"`data` must be (contexts, candidates, labels), got {type(data).__name__}; pass for "
            "example problem.loss.uniform."
        )
    contexts, candidates, _ = data = [jax.numpy.asarray(part) for part in data]
    right = np.asarray(groups(data))
    best = np.asarray(eqx.filter_jit(scores)(position, contexts, candidates)).argmax(1)
    table = np.asarray(candidates)
    count = np.bincount(np.asarray(groups(loss.data)), minlength=table.max() + 1)
    most = np.where(table >= 0, count[table], -1).argmax(1)
    rows = np.arange(len(table))
    return Linking(right, table[rows, best], table[rows, most], optimizer, problem)


def macro_f1(right: np.ndarray, predicted: np.ndarray) -> float:
    """The mean of F₁ over all classes that occur, among the right ones or the predicted ones.

    >>> macro_f1(np.array([0, 0, 1]), np.array([0, 1, 1]))  # F₁ is 2/3 for both
    0.6666666666666666
    """
    classes = np.union1d(right, predicted)
    is_right, is_predicted = (row == classes[:, None] for row in (right, predicted))
    both = (is_right & is_predicted).sum(1)
    return float(np.mean(2 * both / (is_right.sum(1) + is_predicted.sum(1))))
