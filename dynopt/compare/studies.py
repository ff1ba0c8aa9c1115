"""What is compared: a problem, the optimizers that run on it, and the figures that show them."""

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from .. import analysis, optimizers
from ..errors import InvalidValue
from ..explorer import explore
from ..explorer.explorer import MOST_STEPS
from ..figures.drawing.animation import video_program
from ..figures.drawing.words import count_noun
from ..optimizers import AbstractOptimizer
from ..problems import Problem
from ..runs.ensemble import DEFAULT_PATHS
from ..runs.prepare import must_fit, num_saved
from . import gallery
from .kinds import NOISES, OF_GAMES, OPTIMIZERS, PROBLEMS, make_optimizer, with_noise
from .measurements import FIGURES, ONE_EACH, needed_for, shown_in
from .options import Options, flag
from .user_code import Source, blame, import_problem
from .values import (
    as_typed,
    find_name,
    find_names,
    formats_of,
    must_suit,
    normalized,
    quoted,
)  # fmt: skip


@dataclass(frozen=True)
class Study:
    """One problem, and everything that is asked about it.

    - `called`: the problem as it was typed; `source`: where it comes from.
    - `optimizers`: by name; `arguments`: what each was made with.
    - `steps`, `x0`: as for `dynopt.analysis.compare`.
    - `figures`: the names of the figures.
    - `measured`: for each measurement that is needed, the names of the optimizers to measure.
    - `options`: what was typed.
    """

    called: str
    problem: Problem
    source: Source
    optimizers: Mapping[str, AbstractOptimizer]
    arguments: Mapping[str, Mapping[str, float | bool]]
    steps: int
    x0: Any
    figures: tuple[str, ...]
    measured: Mapping[str, Sequence[str]]
    options: Options

    @property
    def slug(self) -> str:
        """The name of the problem as a part of file names."""
        slug = re.sub(r"[^a-z0-9._-]+", "-", self.problem.name.casefold()).strip("-.")
        return slug[:60] or "problem"

    @property
    def start(self) -> np.ndarray:
        """The start of all runs as one vector."""
        with jax.enable_x64(True):
            leaves = jax.tree.leaves(self.problem.start(self.x0))
            return np.concatenate([np.ravel(leaf) for leaf in leaves])

    def files(self, figure: str) -> dict[tuple[str, ...], list[str]]:
        """The names of the files of a figure, by the optimizers that each shows.

        Some figures show one optimizer, and the name of their file says which if there are several.
        """
        stem, names = f"{figure}-{self.slug}", tuple(self.optimizers)
        stems = {names: stem}
        if figure in ONE_EACH:
            (first, *_) = shown_in(figure)
            several = len(names) > 1
            names = self.measured[first.name]
            stems = {(name,): f"{stem}-{name}" if several else stem for name in names}
        formats = formats_of(figure, self.options.format)
        return {shown: [f"{stem}.{name}" for name in formats] for shown, stem in stems.items()}

    def at_rates(self, optimizer: AbstractOptimizer) -> list[AbstractOptimizer]:
        """The optimizer with other learning rates, over which its stationary law is drawn."""
        (name,) = (name for name, one in self.optimizers.items() if one is optimizer)
        arguments = self.arguments[name]
        return [
            with_noise(
                make_optimizer(name, {**arguments, "learning_rate": rate}, self.problem),
                self.options,
            )
            for rate in self.rates(name)
        ]

    def rates(self, name: str) -> tuple[float, ...]:
        """Multiples of the learning rate of the optimizer of this name."""
        rate = self.arguments[name]["learning_rate"]
        return tuple(float(f"{factor * rate:.6g}") for factor in gallery.FACTORS)

    @property
    def few_steps(self) -> int:
        """The steps of the coarsest map of which a weak order is measured."""
        return self.options.steps or gallery.FEW_STEPS

    @property
    def long_steps(self) -> int:
        """The steps after which most runs rest, and laws are stationary."""
        return 10 * self.steps


def plan(options: Options) -> list[Study]:
    """One study for each problem, after all checks that need no run.

    **Raises:** `InvalidValue` or `ProblemError`.
    """
    if "mp4" in options.format:
        video_program()
    usual = gallery.SAMPLERS if options.temperature else gallery.OPTIMIZERS
    names = find_names("optimizer", options.optimizers, OPTIMIZERS) or list(usual)
    for name in find_names("optimizer", options.set, OPTIMIZERS):
        if name not in names:
            raise InvalidValue(
                f"`--set` names {name}, which is not one of the --optimizers {as_typed(names)}; "
                "add it there."
            )
    _must_be_consistent(options, names)
    by_problem = _options_by_problem(options)
    named = [find_names("figure", one.figures, FIGURES) for one in by_problem]
    drawn = [figure for some in named for figure in some or ("loss",)]  # by default still figures
    must_suit(options.format, drawn)
    if set(drawn) == {"explorer"} and (options.dpi or options.style != Options().style):
        raise InvalidValue(
            "`--style` and `--dpi` are for pictures, and an explorer is a web page of one look; "
            "leave them out, or add paths to --figures."
        )
    studies: list[Study] = []
    refusals: list[InvalidValue] = []
    called: dict[str, str] = {}  # by the part of file names
    for one in by_problem:
        chosen = find_names("optimizer", one.optimizers, OPTIMIZERS) or names
        try:
            study = _study(one, chosen, figures_typed=bool(options.figures))
        except InvalidValue as refusal:
            if options.problem or not options.figures:
                raise
            refusals.append(refusal)  # of the gallery's problems those are drawn that fit
            continue
        studies.append(study)
        other = called.setdefault(study.slug, study.called)
        if other != study.called:
            raise InvalidValue(
                f"{other} and {study.called} would be drawn into the same files; give each its own "
                "--output."
            )
    if not studies:
        raise refusals[0]
    return studies


def _must_be_consistent(options: Options, names: Sequence[str]) -> None:
    """**Raises:** `InvalidValue` for options about random numbers that have no meaning together."""
    first, *others = [flag(name) for name in NOISES if getattr(options, name)] or [None]
    if others:
        raise InvalidValue(
            f"`{first}` and `{others[0]}` exclude each other; leave one of them out."
        )
    if options.seed is not None and first is None:
        raise InvalidValue(
            "`--seed` is that of --noise, --batch or --temperature, and without them nothing is "
            "random; add --noise 0.5, or leave --seed out."
        )
    wrong = [name for name in names if name not in gallery.SAMPLERS]
    if options.temperature and wrong:
        samplers = as_typed(gallery.SAMPLERS)
        raise InvalidValue(
            f"`--temperature` is for {samplers}, got {as_typed(wrong)}; write --optimizers "
            f"{samplers}, or --noise 0.5 in its place."
        )


def _options_by_problem(options: Options) -> list[Options]:
    """The options for each problem; without a problem, those of the gallery.

    Of the gallery's own figures and runs, those are kept for which nothing else was typed. If
    something was, each problem is drawn once.
    """
    if options.problem:
        return [replace(options, problem=(name,)) for name in dict.fromkeys(options.problem)]
    typed_runs = (
        options.optimizers or options.learning_rate or options.set or options.steps or options.x0
        or options.is_random
    )  # fmt: skip

    def kept(chosen: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: value
            for name, value in chosen.items()
            if not (options.figures if name == "figures" else typed_runs)
        }

    chosen = [{"problem": study["problem"]} | kept(study) for study in gallery.STUDIES]
    if options.figures or typed_runs:
        first: dict[tuple[str, ...], dict[str, Any]] = {}
        for study in chosen:
            first.setdefault(study["problem"], study | {"optimizers": options.optimizers})
        chosen = list(first.values())
    return [replace(options, **study) for study in chosen]


def _study(options: Options, names: Sequence[str], figures_typed: bool) -> Study:
    called, problem, source = _problem(options)
    x0 = _start(problem, options.x0)
    problem.start(x0)
    if isinstance(problem.x0, np.ndarray) and np.array_equal(problem.x0, x0 or ()):
        x0 = None
    steps = options.steps or gallery.STEPS
    with blame(called, source.file):
        rates = _rates(problem, names, steps, x0)
    arguments = {
        name: {
            "learning_rate": options.learning_rate or rates.get(name, gallery.GAME_RATE),
            **options.set.get(name, {}),
        }
        for name in names
    }
    by_name = {
        name: with_noise(make_optimizer(name, arguments[name], problem), options) for name in names
    }
    candidates = find_names("figure", options.figures, FIGURES)
    if options.is_random and not figures_typed:
        has_gibbs_law = options.temperature and problem.dim == 1
        candidates, figures_typed = ["langevin" if has_gibbs_law else "ensemble"], True
    is_large = problem.dim > gallery.LARGE
    if not candidates:
        always = ("field",) if problem.owns_field else ()
        never = gallery.ON_DEMAND + gallery.OF_ORDERS * is_large
        candidates = [name for name in FIGURES if name in always or name not in never]
    measured = {} if options.is_random else needed_for("loss", problem, by_name)
    if options.is_random and options.save:
        measured |= needed_for("ensemble", problem, by_name)
    if not figures_typed and not is_large:  # the table then has a column of orders
        measured |= needed_for("convergence", problem, by_name)
    drawable = []
    with blame(called, source.file):
        for figure in candidates:
            try:
                measured |= needed_for(figure, problem, by_name)
                drawable.append(figure)
            except InvalidValue:
                if figures_typed:
                    raise
        if "explorer" in drawable:
            if steps > MOST_STEPS:
                raise InvalidValue(
                    f"`explorer` begins with at most {MOST_STEPS} steps, got --steps {steps}; "
                    f"write --steps {MOST_STEPS}."
                )
            explore(problem, list(by_name.values()), steps, x0=x0)  # it may refuse loss and field
    _must_fit(problem, by_name, measured, steps)
    return Study(
        called, problem, source, by_name, arguments, steps, x0, tuple(drawable), measured, options
    )


def _must_fit(
    problem: Problem, by_name: Mapping[str, AbstractOptimizer], measured: Any, steps: int
) -> None:
    """**Raises:** `InvalidValue` if runs of so many steps would take too much memory."""

    def check(steps: int) -> None:
        if "ensembles" in measured:
            numbers = DEFAULT_PATHS * (steps + 1) * (problem.dim + 2)
            must_fit(numbers * np.dtype(float).itemsize, "an ensemble", "")
        for name in measured.get("comparisons", ()):
            num_saved(by_name[name], problem.dim, np.dtype(float), steps, 1)

    try:
        check(steps)
    except InvalidValue as error:
        while steps > 1:
            steps //= 2
            with suppress(InvalidValue):
                check(steps)
                break
        reason = str(error).partition(";")[0]
        raise InvalidValue(f"{reason}; write for example --steps {steps}.") from error


def _start(problem: Problem, numbers: Sequence[float] | None) -> Any:
    """The start that was typed, in the structure of the problem; None if none was.

    The numbers are the coordinates in the order of the leaves; the keys of a dict are sorted.
    """
    if numbers is None:
        return None
    leaves, structure = jax.tree.flatten(problem.x0)
    if structure == jax.tree.structure(0):
        return list(numbers)
    if len(numbers) != problem.dim:
        raise InvalidValue(
            f"`--x0` has {count_noun(len(numbers), 'number')}, but {problem.name} has "
            f"{problem.dim} coordinates; give one for each."
        )
    ends = np.cumsum([np.size(leaf) for leaf in leaves])[:-1]
    parts = zip(np.split(np.array(numbers), ends), leaves, strict=True)
    return structure.unflatten(part.reshape(np.shape(leaf)).tolist() for part, leaf in parts)


def _rates(problem: Problem, names: Sequence[str], steps: int, x0: Any) -> dict[str, float]:
    """The suggested learning rates; one for all where there is no loss that is descended."""
    if problem.owns_field:
        return dict.fromkeys(names, gallery.GAME_RATE)
    kinds = {name: optimizers.catalogue[name] for name in names if name not in OF_GAMES}
    return analysis.suggested_rates(problem, kinds, steps, x0) if kinds else {}


def _problem(options: Options) -> tuple[str, Problem, Source]:
    """The problem of these options, by the name under which it can be typed again."""
    called = options.problem[0].replace(".py:", ":")
    if called.endswith(".py"):
        raise InvalidValue(
            f"{quoted(called)} is a file; add the name of a function in it, as in "
            f"--problem {called}:loss."
        )
    if ":" in called:
        x0 = None if options.x0 is None else list(options.x0)
        return called, *import_problem(called, x0)
    module, _, name = called.partition(".")
    if normalized(called) not in PROBLEMS and os.path.isfile(f"{module}.py"):
        raise InvalidValue(
            f"no problem {quoted(called)}; if it is in your file {module}.py, write "
            f"--problem {module}:{name or 'loss'}."
        )
    called = find_name("problem", called, PROBLEMS)
    return called, PROBLEMS[called](), Source(f"problems.{called}()")
