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
    Langevin,
    Minibatch,
    Noisy,
)
from ..problems import Problem
from .options import Options
from .values import as_typed

PROBLEMS = problems.catalogue | problems.games
NOISES: dict[str, tuple[type[Any], str]] = {  # by the options that add them
    "noise": (Noisy, "sigma"),
    "batch": (Minibatch, "size"),
    "temperature": (Langevin, "temperature"),
}


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


def _noise(options: Options) -> tuple[type[Any], dict[str, Any]] | None:
    """The wrapper that was typed and its arguments; None if nothing is random."""
    for option, (kind, argument) in NOISES.items():
        if value := getattr(options, option):
            return kind, {argument: value, "key": options.seed or 0}
    return None


def with_noise(optimizer: AbstractOptimizer, options: Options) -> AbstractOptimizer:
    """The optimizer with the noise that was typed, if any was."""
    noise = _noise(options)
    return noise[0](optimizer, **noise[1]) if noise else optimizer


def code_of(name: str, problem: Problem, arguments: Mapping[str, Any], options: Options) -> str:
    """Python that makes the optimizer and its noise, with the numbers as they were typed."""
    is_of_games = name in OF_GAMES
    code = (
        repr(make_optimizer(name, arguments, problem))
        if is_of_games
        else _call(optimizers.catalogue[name], arguments)
    )
    noise = _noise(options)
    return _call(*noise, code) if noise else code


def _call(kind: type, arguments: Mapping[str, Any], *first: str) -> str:
    keywords = (f"{argument}={value!r}" for argument, value in arguments.items())
    return f"{kind.__name__}({', '.join([*first, *keywords])})"


class Name(str):
    """The name of a variable, which Python writes without quotation marks."""

    __repr__ = str.__str__


def classes_in(code: str) -> set[str]:
    """The classes of dynopt that such Python calls."""
    return set(re.findall(r"\b([A-Z]\w+)\(", code))
