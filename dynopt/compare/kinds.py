"""What the command names: problems and games, and the optimizers that run on them."""

import inspect
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from .. import optimizers, problems
from ..errors import DynoptError, InvalidValue, unknown_name
from ..optimizers import (
    SGD,
    AbstractOptimizer,
    Alternating,
    Consensus,
    Extragradient,
    Minibatch,
    Noisy,
)
from ..problems import Problem
from .options import Options
from .values import as_typed

PROBLEMS = problems.catalogue | problems.games


def alternating(problem: Problem, learning_rate: float) -> AbstractOptimizer:
    """Gradient descent in which one player moves after another."""
    players = getattr(problem, "players", ())
    if not players:
        raise InvalidValue(f"{problem.name} has no players; use sgd.")
    return Alternating(SGD(learning_rate), players)


def extragradient(problem: Problem, learning_rate: float) -> AbstractOptimizer:
    """Gradient descent that asks for the field where one step would lead."""
    return Extragradient(SGD(learning_rate))


def consensus(problem: Problem, learning_rate: float, gamma: float = 0.5) -> AbstractOptimizer:
    """Gradient descent on a field to which gamma times the slope of |g|²/2 is added."""
    return Consensus(SGD(learning_rate), gamma)


OF_GAMES: dict[str, Callable[..., AbstractOptimizer]] = {
    make.__name__: make for make in (alternating, extragradient, consensus)
}
OPTIMIZERS = optimizers.catalogue | OF_GAMES


def make_optimizer(
    name: str, arguments: Mapping[str, float | bool], problem: Problem
) -> AbstractOptimizer:
    """The optimizer of this name for the problem.

    **Raises:** `InvalidValue` or `UnknownName` for arguments that it does not take, and for an
    optimizer of games on a loss.
    """
    is_of_games = name in OF_GAMES
    if is_of_games and not problem.owns_field:
        raise InvalidValue(
            f"{name} is an optimizer of games, and {problem.name} is a loss; use sgd, or "
            "--problem dirac_gan."
        )
    make = partial(OF_GAMES[name], problem) if is_of_games else optimizers.catalogue[name]
    options = inspect.signature(make).parameters
    for option, parameter in options.items():
        value = arguments.get(option, parameter.default)
        if isinstance(parameter.default, bool) and not isinstance(value, bool):
            raise InvalidValue(
                f"`{name}.{option}` must be true or false, got {as_typed(value)}; write "
                f"{name}.{option}=true."
            )
    try:
        for argument in arguments if is_of_games else ():  # a class refuses them by itself
            if argument not in options:
                raise unknown_name(f"option of {name}", argument, options)
        optimizer = make(**arguments)
        optimizer.for_leaves(problem.start())  # Muon, for example, takes matrices only
        return optimizer
    except DynoptError as error:
        raise InvalidValue(f"{name}: {error}") from error


def with_noise(optimizer: AbstractOptimizer, options: Options) -> AbstractOptimizer:
    """The optimizer with the noise that was typed, if any was."""
    key = options.seed or 0
    if options.batch:
        return Minibatch(optimizer, options.batch, key=key)
    return Noisy(optimizer, sigma=options.noise, key=key) if options.noise else optimizer


def code_with_noise(code: str, options: Options) -> str:
    """Python that makes the optimizer of some `code` with the noise that was typed."""
    key = options.seed or 0
    if options.batch:
        return f"Minibatch({code}, {options.batch}, key={key})"
    return f"Noisy({code}, sigma={options.noise!r}, key={key})" if options.noise else code


def code_of(name: str, optimizer: AbstractOptimizer, arguments: Mapping[str, Any]) -> str:
    """Python that makes the optimizer, with the numbers as they were typed."""
    if name in OF_GAMES:
        return repr(optimizer)
    keywords = (f"{option}={value!r}" for option, value in arguments.items())
    return f"{type(optimizer).__name__}({', '.join(keywords)})"


def classes_in(code: str) -> set[str]:
    """The classes of dynopt that such Python calls."""
    return set(re.findall(r"\b([A-Z]\w+)\(", code))
