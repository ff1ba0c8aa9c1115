"""What is compared: a problem, the optimizers that run on it, what is measured there, and what is drawn of it."""

import contextlib
import importlib
import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from .. import analysis, figures, optimizers, problems
from ..analysis import (
    Basins,
    Comparison,
    LocalError,
    Lyapunov,
    Order,
    Rescaling,
    Sensitivity,
    Stability,
)
from ..derivations import Modified
from ..errors import DynoptError, InvalidValue, ProblemError, SolverFailure, unknown_name
from ..figures import Picture
from ..optimizers import AbstractOptimizer
from ..problems import Problem
from . import gallery
from .options import Options, all_known, known, shown, typed

# What a figure shows, where it is not the gaps alone.
SHOWS = {
    "modified": ("mendable_gaps", "modified_gaps"),
    "local_error": ("local_errors",),
    "order": ("orders",),
    "energy": ("energies",),
    "stability": ("stability",),
    "rescaling": ("rescalings",),
    "basins": ("basins",),
    "sweep": ("sensitivity",),
    "overview": ("gaps", "local_errors", "orders"),
}

# What is drawn only if it is asked for: a modified equation is long to compile, and longer to solve where it is stiff;
# other units, other starts and other rates are questions of their own.
ON_DEMAND = ("modified", "rescaling", "basins", "sweep")
SCALE = 1 / 3  # of x over z, where units are changed


def shown_in(figure: str) -> tuple[str, ...]:
    return SHOWS.get(figure, ("gaps",))


@dataclass(frozen=True)
class Study:
    """One problem and all that is asked about it.

    - `called`: the problem as it was typed; `code`: how Python makes it; `file`: where it is written, if not in dynopt.
    - `pages`: the optimizers; `made`: with which arguments. - `steps`, `x0`: as for `dynopt.analysis.gap`.
    - `figures`: what is drawn; `measures`: what is measured for that. - `options`: what asks for all this.
    """

    called: str
    problem: Problem
    code: str
    file: str | None
    optimizers: Mapping[str, AbstractOptimizer]
    made: Mapping[str, Mapping[str, float | bool]]
    steps: int
    x0: list[float] | None
    figures: tuple[str, ...]
    measures: frozenset[str]
    options: Options

    @property
    def slug(self) -> str:
        """The problem's name as part of a file's name."""
        return (
            re.sub(r"[^a-z0-9._-]+", "-", self.problem.name.casefold()).strip("-.")[:60]
            or "problem"
        )

    @property
    def start(self) -> np.ndarray:
        """Where all runs begin, as one vector."""
        with jax.enable_x64(True):
            return np.concatenate(
                [np.ravel(leaf) for leaf in jax.tree.leaves(self.problem.start(self.x0))]
            )

    @property
    def order_steps(self) -> int:
        """Over how many steps the order is measured: the beginning of the run, before map and flow part for good."""
        return min(self.steps, 50)

    @property
    def long(self) -> int:
        """Over how many steps basins are drawn: until most runs rest."""
        return 10 * self.steps

    @property
    def swinging(self) -> str | None:
        """The optimizer whose stability is mapped, and its rates: the first that has a momentum to vary."""
        return next(
            (name for name, optimizer in self.optimizers.items() if _has_momentum(optimizer)), None
        )


@dataclass(frozen=True)
class Result:
    """What was measured of one optimizer; None where no figure asks for it, or the run failed that it needs."""

    comparison: Comparison
    local_error: LocalError | None
    order: Order | None
    energies: tuple[Lyapunov, ...] = ()
    stability: Stability | None = None
    modified_comparison: Comparison | None = None
    rescaling: Rescaling | None = None
    basins: tuple[Basins, ...] = ()
    sensitivity: Sensitivity | None = None


def measure(study: Study, name: str) -> Result:
    """Each number once, for however many figures."""
    optimizer, problem, local_error, order, energies, stability = (
        study.optimizers[name],
        study.problem,
        None,
        None,
        (),
        None,
    )
    modified_comparison = rescaling = sensitivity = None
    basins: list[Basins] = []
    with jax.enable_x64(True), blame(study.called, study.file):
        comparison = analysis.compare(optimizer, problem, study.steps, x0=study.x0, throw=False)
        if "local_errors" in study.measures:
            local_error = analysis.local_error(
                optimizer, problem, study.steps, x0=study.x0, throw=False
            )
        if "orders" in study.measures:
            with contextlib.suppress(SolverFailure):
                order = analysis.order(
                    optimizer, problem, study.order_steps * float(optimizer.h), x0=study.x0
                )
        if "energies" in study.measures and has_energy(optimizer):
            energies = tuple(
                analysis.lyapunov(optimizer, problem, run)
                for run in (comparison.map, comparison.flow)
            )
        if "stability" in study.measures and name == study.swinging:
            stability = analysis.stability(optimizer, "momentum")
        if "modified_gaps" in study.measures and is_mended(optimizer):
            modified_comparison = analysis.compare(
                Modified(optimizer), problem, study.steps, x0=study.x0, throw=False
            )
        if "rescalings" in study.measures:
            rescaling = analysis.rescaling(
                optimizer, problem, study.steps, SCALE, x0=study.x0, throw=False
            )
        if "basins" in study.measures and name == next(
            iter(study.optimizers)
        ):  # all in a row: one flow serves them
            for other in study.optimizers.values():
                basins.append(
                    analysis.basins(other, problem, study.long, flow=basins[0] if basins else None)
                )
        if "sensitivity" in study.measures and name == study.swinging:
            sensitivity = analysis.sensitivity(
                optimizer, problem, study.steps, "momentum", x0=study.x0
            )
    more = modified_comparison, rescaling, tuple(basins), sensitivity
    return Result(comparison, local_error, order, energies, stability, *more)


def draw(study: Study, figure: str, results: Sequence[Result]) -> Picture | None:
    """One figure of the study; None if there is nothing to show in it."""
    measured = {
        "gaps": [result.comparison for result in results],
        "local_errors": [result.local_error for result in results if result.local_error],
        "orders": [result.order for result in results if result.order],
        "energies": [energy for result in results for energy in result.energies],
        "stability": [result.stability for result in results if result.stability],
        "mendable_gaps": [result.comparison for result in results if result.modified_comparison],
        "modified_gaps": [
            result.modified_comparison for result in results if result.modified_comparison
        ],
        "rescalings": [result.rescaling for result in results if result.rescaling],
        "basins": [one for result in results for one in result.basins],
        "sensitivity": [result.sensitivity for result in results if result.sensitivity],
    }
    shown = [measured[name] for name in shown_in(figure)]
    if not all(shown):
        return None
    with jax.enable_x64(True), blame(study.called, study.file):
        return figures.catalogue[figure].draw(*shown, style=study.options.style)


def planned(options: Options) -> list[Study]:
    """One study per problem, with all that can be checked before anything runs.

    **Raises:** `InvalidValue` or `ProblemError`.
    """
    names = all_known("optimizer", options.optimizers, optimizers.catalogue) or list(
        gallery.OPTIMIZERS
    )
    for name in all_known("optimizer", options.set, optimizers.catalogue):
        if name not in names:
            raise InvalidValue(
                f"`--set` names {name}, which is not one of the --optimizers {typed(names)}; add it there."
            )
    found: dict[str, Study] = {}
    for one in _each(options):
        study = _study(one, names, typed_figures=bool(options.figures))
        twin = found.setdefault(study.slug, study).called
        if twin != study.called:
            raise InvalidValue(
                f"{twin} and {study.called} would be drawn into the same files; give each a --output of its own."
            )
    return list(found.values())


def _each(options: Options) -> list[Options]:
    """The options for each problem by itself; those of the gallery as they were chosen, unless others were typed."""
    if options.problem:
        return [replace(options, problem=(called,)) for called in options.problem]
    typed_runs = (
        options.optimizers or options.learning_rate or options.set or options.steps or options.x0
    )
    chosen = []
    for called, own in gallery.STUDIES.items():
        own = {
            name: value
            for name, value in own.items()
            if not (options.figures if name == "figures" else typed_runs)
        }
        chosen.append(replace(options, problem=(called,), **own))
    return chosen


def _study(options: Options, names: Sequence[str], typed_figures: bool) -> Study:
    called = options.problem[0].replace(".py:", ":")  # a file's name is good, too
    if called.endswith(".py"):
        raise InvalidValue(
            f"{shown(called)} is a file; say which function of it, as in --problem {called}:loss."
        )
    x0 = None if options.x0 is None else list(options.x0)
    if ":" in called:
        problem, code, file = _own_problem(called, x0)
    else:
        called = known("problem", called, problems.catalogue)
        problem, code, file = problems.catalogue[called](), f"problems.{called}()", None
    problem.start(x0)
    if isinstance(problem.x0, np.ndarray) and np.array_equal(problem.x0, x0 or ()):
        x0 = None
    steps = options.steps or gallery.STEPS
    with blame(called, file):
        rates = gallery.learning_rates(
            problem, {name: optimizers.catalogue[name] for name in names}, steps, x0
        )
    made = {
        name: {"learning_rate": options.learning_rate or rates[name], **options.set.get(name, {})}
        for name in names
    }
    pages = {name: _page(name, made[name], problem) for name in names}
    wanted = all_known("figure", options.figures, figures.catalogue)
    usual = [name for name in figures.catalogue if name not in ON_DEMAND]
    fitting = [name for name in wanted or usual if not _misfit(name, problem, pages)]
    for name in wanted:
        if typed_figures and name not in fitting:
            raise InvalidValue(_misfit(name, problem, pages))
    measures = {
        "gaps",
        *(name for figure in fitting for name in shown_in(figure)),
        *([] if typed_figures else ["orders"]),
    }
    return Study(
        called,
        problem,
        code,
        file,
        pages,
        made,
        steps,
        x0,
        tuple(fitting),
        frozenset(measures),
        options,
    )


def _page(name: str, made: Mapping[str, float | bool], problem: Problem) -> AbstractOptimizer:
    kind = optimizers.catalogue[name]
    for option, parameter in inspect.signature(kind.__init__).parameters.items():
        if isinstance(parameter.default, bool) and not isinstance(made.get(option, False), bool):
            raise InvalidValue(
                f"`{name}.{option}` must be true or false, got {typed(made[option])}; write {name}.{option}=true."
            )
    try:
        optimizer = kind(**made)
        optimizer.for_leaves(problem.start())  # such as Muon's matrices
        return optimizer
    except DynoptError as error:
        raise InvalidValue(f"{name}: {error}") from error


def _misfit(figure: str, problem: Problem, pages: Mapping[str, AbstractOptimizer]) -> str:
    """Why a figure cannot be drawn of this problem and these optimizers; nothing if it can."""
    lack = "do not have" if len(pages) > 1 else "does not have"
    if figure == "paths" and problem.dim < 2:
        return f"`paths` are drawn in a plane, but {problem.name} has 1 coordinate; draw --figures loss,gap."
    if figure == "modified" and problem.dim != 2:
        return f"`modified` shows two coordinates, but {problem.name} has {problem.dim}; draw --figures loss,gap."
    if figure == "phase" and not any("p" in _memory(optimizer) for optimizer in pages.values()):
        return f"`phase` shows a velocity, which {typed(tuple(pages))} {lack}; add --optimizers momentum."
    if figure == "modified" and not any(map(is_mended, pages.values())):
        return (
            f"`modified` shows flows that close the gap one order faster, and {typed(tuple(pages))} "
            f"{'have' if len(pages) > 1 else 'has'} none; add --optimizers sgd."
        )
    if figure == "energy" and not any(map(has_energy, pages.values())):
        return f"`energy` shows an energy, and none is known of {typed(tuple(pages))}; add --optimizers sgd."
    if figure in ("stability", "sweep") and not any(map(_has_momentum, pages.values())):
        return f"`{figure}` varies a momentum, which {typed(tuple(pages))} {lack}; add --optimizers momentum."
    if figure == "basins" and problem.dim != 2:
        many = f"{problem.dim} coordinate{'s' * (problem.dim > 1)}"
        return f"`basins` fill a plane, but {problem.name} has {many}; draw --figures loss,gap."
    if figure == "basins" and (problem.minimizers is None or problem.window is None):
        return f"`basins` are those of known minimizers in a window, which {problem.name} does not state; draw paths."
    return ""


def has_energy(optimizer: AbstractOptimizer) -> bool:
    x = jax.ShapeDtypeStruct((1, 1), float)
    try:
        jax.eval_shape(
            lambda x: optimizer.lyapunov(0.0, optimizer.init(x, lambda x: x), jax.numpy.sum), x
        )
    except InvalidValue:
        return False
    return True


def is_mended(optimizer: AbstractOptimizer) -> bool:
    """Whether its modified equation closes the gap faster; not where corners or the start (RMSprop from 0) forbid."""
    known = optimizer.regularity
    return not (known.nonsmooth or known.singular_start or known.initial_layer) and known.order == 1


def _has_momentum(optimizer: AbstractOptimizer) -> bool:
    return {"learning_rate", "momentum"} <= set(
        inspect.signature(type(optimizer).__init__).parameters
    )


def _memory(optimizer: AbstractOptimizer) -> tuple[str, ...]:
    """What a point of phase space is made of."""
    return jax.eval_shape(
        lambda x: optimizer.init(x, lambda x: x), jax.ShapeDtypeStruct((1, 1), float)
    )._fields


def _own_problem(called: str, x0: list[float] | None) -> tuple[Problem, str, str]:
    """The user's own problem, by `module:function`; how Python makes it; the file it is written in."""
    module_name, _, name = called.partition(":")
    if os.path.dirname(module_name) and Path(module_name).parent.resolve() == Path.cwd():
        module_name = os.path.basename(module_name)
    if "/" in module_name or "\\" in module_name:
        file = module_name.replace("\\", "/").split("/")[-1]
        raise InvalidValue(
            f"{shown(called)} is in another folder; go there, and write --problem {file}.py:{name}."
        )
    if Path(f"{module_name}.py").is_file() and not module_name.isidentifier():
        fit = re.sub(r"\W|^(?=\d)", "_", module_name)
        raise InvalidValue(
            f"Python cannot import a file named {shown(module_name + '.py')}; rename it, say {fit}.py."
        )
    if not all(part.isidentifier() for part in [*module_name.split("."), name]):
        raise InvalidValue(
            f"{shown(called)} is not module:function; write for example --problem mymodule:loss."
        )
    with _importable_from_here(module_name):
        with blame(called):
            module = importlib.import_module(module_name)
        if not hasattr(module, name):
            raise unknown_name(
                f"function in {module_name}",
                name,
                [n for n, v in vars(module).items() if callable(v)],
            )
        value, code, file = getattr(module, name), called.replace(":", "."), module.__file__ or ""
        if isinstance(value, Problem):
            return value, code, file
        if not callable(value):
            raise InvalidValue(
                f"{called} is {shown(repr(value))}; name a loss f(x), or a function that returns a dynopt.Problem."
            )
        with blame(called):
            if _takes(value):
                made = value()
                if not isinstance(made, Problem):
                    raise ProblemError(
                        f"{called} takes nothing and returned {shown(repr(made))}; return a dynopt.Problem."
                    )
                return made, f"{code}()", file
            if not _takes(value, x0):
                raise ProblemError(
                    f"{called} takes other arguments than one; it is called as f(x)."
                )
            if x0 is None:
                raise InvalidValue(
                    f"{called} is a loss f(x) without a start; say where with --x0, for example --x0 1,1."
                )
            return Problem(value, x0), f"Problem({code}, {x0})", file


def _takes(function: Callable, *arguments: Any) -> bool:
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError:
        return False
    except ValueError:  # it does not say
        return bool(arguments)
    return True


@contextlib.contextmanager
def _importable_from_here(module: str) -> Iterator[None]:
    """For a moment, modules in the current folder can be imported; afterwards the path and `module` are as before."""
    path, before = list(sys.path), set(sys.modules)
    sys.path.insert(0, os.getcwd())
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:] = path
        top = module.partition(".")[0]
        for name in [
            name for name in sys.modules if name not in before and f"{name}.".startswith(f"{top}.")
        ]:
            del sys.modules[name]


@contextlib.contextmanager
def blame(called: str, file: str | None = "") -> Iterator[None]:
    """Tell in one sentence what the user's own code raised: its kind, its words, and the line.

    - `file`: where that code is written; None if there is none, "" if whatever happens is its doing.
    """
    try:
        yield
    except (Exception, SystemExit) as error:
        place = _place(error, file)
        if place is None or isinstance(error, DynoptError):
            raise
        if isinstance(error, ModuleNotFoundError) and error.name == called.partition(":")[0]:
            raise InvalidValue(
                f"no module {error.name!r} in this folder or installed; write --problem file:function."
            ) from error
        words = " ".join(str(error).split()) or "no words"
        raise ProblemError(
            f"{called} raised {type(error).__name__}: {words[:300]}{place}."
        ) from error


def _place(error: BaseException, file: str | None) -> str | None:
    """The line of the user's code where it happened; None if it did not happen there."""
    if file is None:
        return None
    if isinstance(error, SyntaxError) and error.filename:
        return f" (line {error.lineno} of {Path(error.filename).name})"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == (file or frame.filename)
    ]
    own = [frame for frame in frames if file or Path(frame.filename).parent == Path.cwd()]
    if own:
        return f" (line {own[-1].lineno} of {Path(own[-1].filename).name}: {own[-1].line})"
    return None if file else ""
