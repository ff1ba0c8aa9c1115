"""Which optimizers fit a measurement: functions of a problem and optimizers, by their names.

Each returns the names of those that are measured. It raises `InvalidValue` if there are none; its
sentence continues the name of a figure.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import jax
import numpy as np
from jax.flatten_util import ravel_pytree

from .. import analysis, figures
from ..checks import accepts
from ..derivations.stochastic import StochasticEquation
from ..errors import InvalidValue
from ..optimizers import AbstractOptimizer, Langevin, Minibatch
from ..optimizers.wrappers.noise import noise_of
from ..problems import Problem
from ..runs.prepare import fit_to_start
from .values import as_typed

Optimizers = Mapping[str, AbstractOptimizer]
Fits = Callable[[Problem, Optimizers], Sequence[str]]
MOST_EIGENVALUES = 200  # coordinates of a problem; a memory has as many again
MOST_IN_ENSEMBLES = 100  # coordinates of a problem, of which 1000 paths are kept


def every(problem: Problem, optimizers: Optimizers) -> Sequence[str]:
    return tuple(optimizers)


def those_with(
    noun: str, condition: Callable[[AbstractOptimizer], bool], example: str, most: int | None = None
) -> Fits:
    """The optimizers, or the first `most` of them, that meet a condition: that they have a noun."""

    def fits(problem: Problem, optimizers: Optimizers) -> Sequence[str]:
        fitting = [name for name, optimizer in optimizers.items() if condition(optimizer)][:most]
        if not fitting:
            verb = "do" if len(optimizers) > 1 else "does"
            raise InvalidValue(
                f"needs {noun}, which {as_typed(tuple(optimizers))} {verb} not have; add "
                f"--optimizers {example}."
            )
        return fitting

    return fits


def _point(optimizer: AbstractOptimizer, function: Callable[[Any], Any]) -> Any:
    """Shapes of `function` of a point of phase space of the optimizer."""
    x = jax.ShapeDtypeStruct((1, 1), float)
    return jax.eval_shape(lambda x: function(optimizer.init(x, lambda x: x)), x)


def _has_velocity(optimizer: AbstractOptimizer) -> bool:
    return "p" in _point(optimizer, lambda y: y)._fields


def _has_modified_flow(optimizer: AbstractOptimizer) -> bool:
    """Whether the error to the modified flow is O(h²): the map is smooth, and so is its start."""
    regularity = optimizer.regularity
    rough = regularity.nonsmooth or regularity.singular_start or regularity.initial_layer
    return not rough and regularity.order >= 1


def _has_momentum(optimizer: AbstractOptimizer) -> bool:
    return {"learning_rate", "momentum"} <= optimizer.hyperparameters().keys()


with_velocity = those_with("a velocity", _has_velocity, "momentum")
first_with_momentum = those_with("a momentum", _has_momentum, "momentum", most=1)


def in_a_plane(problem: Problem, optimizers: Optimizers, more: bool = True) -> Sequence[str]:
    if problem.dim < 2 or problem.dim > 2 and not more:
        raise InvalidValue(
            f"needs two coordinates, but {problem.name} has {problem.dim}; draw "
            "--figures loss,convergence."
        )
    return tuple(optimizers)


def in_two_coordinates(problem: Problem, optimizers: Optimizers) -> Sequence[str]:
    return in_a_plane(problem, optimizers, more=False)


def first_in_two_coordinates(problem: Problem, optimizers: Optimizers) -> Sequence[str]:
    """The first optimizer, with which all are explored, as they stand in one file."""
    return in_two_coordinates(problem, optimizers)[:1]


def with_modified_flow(problem: Problem, optimizers: Optimizers) -> Sequence[str]:
    in_a_plane(problem, optimizers, more=False)
    return those_with("a modified flow of order 2", _has_modified_flow, "sgd")(problem, optimizers)


def with_plane_field(problem: Problem, optimizers: Optimizers) -> Sequence[str]:
    """The optimizers whose modified flow is one of positions alone."""
    in_a_plane(problem, optimizers, more=False)
    return those_with(
        "a modified flow of order 2 and no memory",
        lambda one: _has_modified_flow(one) and _point(one, lambda y: y)._fields == ("x",),
        "sgd",
    )(problem, optimizers)


def first_with_basins(problem: Problem, optimizers: Optimizers) -> Sequence[str]:
    """The first optimizer, with which all are measured, so that they share one gradient flow."""
    names = in_a_plane(problem, optimizers, more=False)
    if not problem.conservative:
        raise InvalidValue(
            f"needs a loss that is descended, which {problem.name} does not have; draw --figures "
            "paths."
        )
    if problem.minimizers is None or problem.window is None:
        raise InvalidValue(
            f"needs known minimizers in a window, which {problem.name} does not have; draw "
            "--figures paths."
        )
    return names[:1]


def with_eigenvalues(problem: Problem, optimizers: Optimizers) -> Sequence[str]:
    if problem.dim > MOST_EIGENVALUES:
        raise InvalidValue(
            f"computes all eigenvalues of at most {MOST_EIGENVALUES} coordinates, but "
            f"{problem.name} has {problem.dim}; draw --figures loss,convergence."
        )
    return tuple(optimizers)


def of_problems_with(noun: str, condition: Callable[[Problem], bool], advice: str) -> Fits:
    """All optimizers, on a problem that meets a condition: that it has a noun."""

    def fits(problem: Problem, optimizers: Optimizers) -> Sequence[str]:
        if not condition(problem):
            raise InvalidValue(f"needs {noun}, which {problem.name} does not have; {advice}.")
        return tuple(optimizers)

    return fits


def _has_unseen_examples(problem: Problem) -> bool:
    scores = getattr(problem.loss, "scores", None)
    return bool(
        hasattr(problem.loss, "unseen") and scores and accepts(scores, problem.x0, "features")
    )


with_unseen_examples = of_problems_with(
    "a classifier with unseen examples", _has_unseen_examples, "take --problem digits_network"
)
with_groups = of_problems_with(
    "a loss that knows groups of its examples",
    lambda problem: hasattr(problem.loss, "groups"),
    "draw --problem entity_linking",
)
with_sentences = of_problems_with(
    "sentences of unseen intents",
    lambda problem: hasattr(problem.loss, "unseen_intents"),
    "take --problem sentence_similarity",
)


def with_noise(problem: Problem, optimizers: Optimizers) -> Sequence[str]:
    noises = [noise_of(optimizer) for optimizer in optimizers.values()]
    if None in noises:
        raise InvalidValue(
            "needs noise; add --noise 0.5, or --batch 8 for a problem over data, such as "
            "logistic_regression."
        )
    examples = getattr(problem.loss, "examples", 0)
    sizes = [noise.size for noise in noises if isinstance(noise, Minibatch)]
    if sizes and not examples:
        raise InvalidValue(
            f"needs a problem over data for --batch, which {problem.name} is not; write --noise "
            "0.5 in its place, or take --problem logistic_regression."
        )
    if max(sizes, default=0) > examples:
        raise InvalidValue(
            f"draws batches of {max(sizes)} examples, but {problem.name} has {examples}; write "
            f"--batch {examples}."
        )
    return tuple(optimizers)


def with_random_paths(problem: Problem, optimizers: Optimizers) -> Sequence[str]:
    names = with_noise(problem, optimizers)
    if problem.dim > MOST_IN_ENSEMBLES:
        raise InvalidValue(
            f"keeps 1000 paths of at most {MOST_IN_ENSEMBLES} coordinates, but {problem.name} has "
            f"{problem.dim}; run dynopt.ensemble with fewer paths."
        )
    start = problem.start()
    x, _ = ravel_pytree(start)
    fitting = []
    for name in names:
        with suppress(InvalidValue):
            StochasticEquation(fit_to_start(optimizers[name], start, x.dtype), x)
            fitting.append(name)
    if not fitting:
        raise InvalidValue(
            f"needs a stochastic flow, which {as_typed(tuple(names))} does not have, as it begins "
            "with v = 0; write --set rmsprop.bias_correction=true."
        )
    return fitting


def with_gibbs_law(problem: Problem, optimizers: Optimizers) -> Sequence[str]:
    noises: list[Any] = [noise_of(optimizer) for optimizer in optimizers.values()]
    if not all(isinstance(noise, Langevin) for noise in noises):
        instead = "" if None in noises else " in place of the other noise"
        raise InvalidValue(f"needs a temperature; write --temperature 0.5{instead}.")
    if problem.dim != 1 or problem.owns_field:
        raise InvalidValue(
            f"needs a loss of one coordinate, but {problem.name} has {problem.dim}; take --problem "
            "double_well, or draw --figures ensemble."
        )
    start = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(problem.x0)])
    try:
        figures.langevin.gibbs_law(problem, float(noises[0].temperature), start)
    except InvalidValue:
        raise InvalidValue(
            "needs a loss that grows on both sides, so that exp(-f/T) has a finite integral, "
            f"which {problem.name} does not do; draw --figures ensemble."
        ) from None
    return tuple(optimizers)


def with_stationary_law(problem: Problem, optimizers: Optimizers) -> Sequence[str]:
    """The optimizers of which exact moments are known, and which have a stationary law."""
    with_noise(problem, optimizers)
    laws = {}
    for name, optimizer in ({} if problem.owns_field else optimizers).items():
        with suppress(InvalidValue):
            laws[name] = analysis.stationary(optimizer, problem)
    if not laws:
        raise InvalidValue(
            "needs a quadratic loss and an optimizer that is affine in the gradient, got "
            f"{problem.name} and {as_typed(tuple(optimizers))}; write --problem quadratic "
            "--optimizers sgd --noise 0.5, or draw --figures ensemble."
        )
    fitting = [name for name, law in laws.items() if law.map.cov.trace() > 0]
    if not fitting:
        raise InvalidValue(
            f"finds no stationary law of {as_typed(tuple(laws))} on {problem.name}; write a "
            "smaller --learning-rate, or draw --figures ensemble where the loss is flat or falls "
            "without end."
        )
    return fitting


def _can_be_refined(optimizer: AbstractOptimizer) -> bool:
    try:
        optimizer.refine(2)
    except InvalidValue:
        return False
    return True


def with_weak_order(problem: Problem, optimizers: Optimizers) -> Sequence[str]:
    with_noise(problem, optimizers)
    noun = "a limit of small time steps at one temperature"
    return those_with(noun, _can_be_refined, "sgd")(problem, optimizers)
