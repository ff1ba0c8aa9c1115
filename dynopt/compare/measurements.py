"""What can be measured: one table for the command, for its figures and for `--show-code`."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import jax

from .. import analysis, explorer, figures
from ..errors import InvalidValue, SolverFailure
from ..explorer import Explorer
from ..figures import Picture
from ..figures.animation import Animation
from ..figures.drawing.words import join_words
from ..optimizers import AbstractOptimizer
from ..optimizers.wrappers.noise import noise_of
from ..problems import Problem
from ..runs import Ensemble, Trajectory, ensemble, iterate
from . import gallery
from .fits import (
    Fits,
    Optimizers,
    every,
    first_in_two_coordinates,
    first_with_basins,
    first_with_momentum,
    in_a_plane,
    in_two_coordinates,
    with_eigenvalues,
    with_gibbs_law,
    with_groups,
    with_modified_flow,
    with_plane_field,
    with_random_paths,
    with_sentences,
    with_stationary_law,
    with_unseen_examples,
    with_velocity,
    with_weak_order,
)
from .user_code import blame

if TYPE_CHECKING:
    from .studies import Study

# What the command draws; `ONE_EACH` show one optimizer, each in a file of its own.
FIGURES = {
    **figures.catalogue,
    "spectrum": figures.spectrum,
    "robustness": figures.robustness,
    "half_times": figures.half_times,
    "retrieval": figures.retrieval,
    "inside": figures.inside,
    "animation": figures.animation,
    "explorer": explorer,
    "ensemble": figures.ensemble,
    "langevin": figures.langevin,
    "stationary": figures.stationary,
    "weak_order": figures.weak_order,
}
ONE_EACH = ("inside", "animation", "ensemble", "stationary")
OF_NOISE = ("ensemble", "langevin", "stationary", "weak_order")  # show random paths, or their laws
Drawing = Picture | Animation | Explorer
FIRST_INSIDE, STEPS_INSIDE = 4, 3  # the steps that are taken apart: the fifth to the seventh
SAMPLES = 4000  # paths whose ends are a histogram
REFINEMENTS = 5  # of the time step: h, h/2, ..., h/16
WEAK_REFINEMENTS = 4  # the same for weak orders, which may take thousands of paths
Results = dict[str, list[Any]]  # the results of one optimizer, by the names of measurements


class Measurement(NamedTuple):
    """A list of results, as the command measures it and as Python does.

    - `name`: what the list is called.
    - `code`: Python that makes the list, for `--show-code`, with numbers of the study, the
      `{optimizers}` that fit, lists of them `{at_rates}` other than their own and the place of the
      `{first}` in braces.
    - `fits(problem, optimizers)`: the names of the optimizers that are measured.
    - `measure(study, optimizer)`: what one of these optimizers adds to the list.
    """

    name: str
    code: str
    fits: Fits
    measure: Callable[["Study", AbstractOptimizer], list[Any]]


def whole_run(name: str, function: str, fits: Fits = every) -> Measurement:
    """A function of `analysis` that takes an optimizer, a problem and the steps."""

    def measure(study: "Study", optimizer: AbstractOptimizer) -> list[Any]:
        run = getattr(analysis, function)
        return [run(optimizer, study.problem, study.steps, x0=study.x0, throw=False)]

    call = f"analysis.{function}(optimizer, problem, {{steps}}{{x0}}, throw=False)"
    return Measurement(
        name, f"{name} = [\n    {call}\n    for optimizer in {{optimizers}}\n]", fits, measure
    )


def of_map(
    name: str, fits: Fits, steps: str = "steps", arguments: str = "problem, run"
) -> Measurement:
    """The function `name` of `analysis`, which takes the problem and the run of a map, or the run.

    - `steps`: the attribute of a study that holds their number.
    """

    def measure(study: "Study", optimizer: AbstractOptimizer) -> list[Any]:
        run = iterate(optimizer, study.problem, getattr(study, steps), x0=study.x0, throw=False)
        taken = (study.problem, run) if arguments == "problem, run" else (run,)
        return [getattr(analysis, name)(*taken)]

    code = (
        f"{name} = []\n"
        "for optimizer in {optimizers}:\n"
        f"    run = iterate(optimizer, problem, {{{steps}}}{{x0}}, throw=False)\n"
        f"    {name}.append(analysis.{name}({arguments}))"
    )
    return Measurement(name, code, fits, measure)


def _order(study: "Study", optimizer: AbstractOptimizer) -> list[Any]:
    time = study.steps * float(optimizer.h)
    with suppress(SolverFailure):
        return [analysis.order(optimizer, study.problem, time, REFINEMENTS, x0=study.x0)]
    return []


def _inside(study: "Study", optimizer: AbstractOptimizer) -> list[Any]:
    with suppress(SolverFailure):
        steps = FIRST_INSIDE, STEPS_INSIDE
        return [analysis.inside(optimizer, study.problem, *steps, x0=study.x0)]
    return []


def _basins(study: "Study", _: AbstractOptimizer) -> list[Any]:
    basins = []
    for optimizer in study.optimizers.values():
        flow = basins[0] if basins else None
        basins.append(analysis.basins(optimizer, study.problem, study.long_steps, flow=flow))
    return basins


def _ensembles(study: "Study", optimizer: AbstractOptimizer) -> list[Any]:
    seed = study.options.seed or 0
    return [
        [
            ensemble(optimizer, study.problem, study.steps, key=seed, of=kind, x0=study.x0)
            for kind in ("map", "flow")
        ]
    ]


def _samples(study: "Study", optimizer: AbstractOptimizer) -> list[Any]:
    seed, steps = study.options.seed or 0, study.long_steps
    options: Any = {"x0": study.x0, "save_every": steps}
    return [
        ensemble(optimizer, study.problem, steps, SAMPLES, key=seed, of=kind, **options)
        for kind in ("map", "flow")
    ]


def _stationary(study: "Study", optimizer: AbstractOptimizer) -> list[Any]:
    return [[analysis.stationary(one, study.problem) for one in study.at_rates(optimizer)]]


def _simulated(study: "Study", optimizer: AbstractOptimizer) -> list[Any]:
    (laws,), steps = _stationary(study, optimizer), study.long_steps
    keys = jax.random.split(jax.random.key(study.options.seed or 0), len(laws))
    options: Any = {"x0": study.x0, "save_every": steps}
    return [
        [
            ensemble(law.optimizer, study.problem, steps, key=key, **options)
            for law, key in zip(laws, keys, strict=True)
            if law.map.cov.trace() > 0
        ]
    ]


def _weak_order(study: "Study", optimizer: AbstractOptimizer) -> list[Any]:
    time, seed = study.few_steps * float(optimizer.h), study.options.seed or 0
    return [
        analysis.weak_order(
            optimizer, study.problem, None, time, WEAK_REFINEMENTS, x0=study.x0, key=seed
        )
    ]


def _explored(study: "Study", _: AbstractOptimizer) -> list[Any]:
    optimizers = list(study.optimizers.values())
    return [explorer.explore(study.problem, optimizers, study.steps, x0=study.x0)]


MEASUREMENTS = (
    whole_run("comparisons", "compare"),
    Measurement(
        "orders",
        "orders = []\n"
        "for optimizer in {optimizers}:\n"
        "    with suppress(SolverFailure):  # a run that diverges has no order\n"
        "        time = {steps} * float(optimizer.h)\n"
        f"        orders.append(analysis.order(optimizer, problem, time, {REFINEMENTS}{{x0}}))",
        every,
        _order,
    ),
    whole_run("modified", "modified", with_modified_flow),
    whole_run("fields", "modified", with_plane_field),
    Measurement(
        "stability",
        'stability = [analysis.stability(optimizers[{first}], "momentum")]',
        first_with_momentum,
        lambda study, optimizer: [analysis.stability(optimizer, "momentum")],
    ),
    Measurement(
        "basins",
        "basins = []\n"
        "for optimizer in optimizers:\n"
        "    flow = basins[0] if basins else None\n"
        "    basins.append(analysis.basins(optimizer, problem, {long_steps}, flow=flow))",
        first_with_basins,
        _basins,
    ),
    Measurement(
        "sensitivity",
        "sensitivity = [\n"
        '    analysis.sensitivity(optimizers[{first}], problem, {steps}, "momentum"{x0})\n'
        "]",
        first_with_momentum,
        lambda study, optimizer: [
            analysis.sensitivity(optimizer, study.problem, study.steps, "momentum", x0=study.x0)
        ],
    ),
    Measurement(
        "spectra",
        "spectra = [analysis.spectrum(optimizer, problem) for optimizer in {optimizers}]",
        with_eigenvalues,
        lambda study, optimizer: [analysis.spectrum(optimizer, study.problem)],
    ),
    Measurement(
        "insides",
        "insides = []\n"
        "for optimizer in {optimizers}:\n"
        "    with suppress(SolverFailure):  # a run that diverges at once has no such steps\n"
        f"        steps = {FIRST_INSIDE}, {STEPS_INSIDE}\n"
        "        insides.append(analysis.inside(optimizer, problem, *steps{x0}))",
        in_two_coordinates,
        _inside,
    ),
    Measurement(
        "explorers",
        "explorers = [explore(problem, optimizers, {steps}{x0})]",
        first_in_two_coordinates,
        _explored,
    ),
    Measurement(
        "ensembles",
        "ensembles = [\n"
        "    [\n"
        "        ensemble(optimizer, problem, {steps}, key={seed}, of=kind{x0})\n"
        '        for kind in ("map", "flow")\n'
        "    ]\n"
        "    for optimizer in {optimizers}\n"
        "]",
        with_random_paths,
        _ensembles,
    ),
    Measurement(
        "samples",
        "samples = [\n"
        f"    ensemble(optimizer, problem, {{long_steps}}, {SAMPLES}, key={{seed}}, of=kind{{x0}}, "
        "save_every={long_steps})\n"
        "    for optimizer in {optimizers}\n"
        '    for kind in ("map", "flow")\n'
        "]",
        with_gibbs_law,
        _samples,
    ),
    Measurement(
        "stationary",
        "stationary = [\n"
        "    [analysis.stationary(optimizer, problem) for optimizer in row]\n"
        "    for row in {at_rates}\n"
        "]",
        with_stationary_law,
        _stationary,
    ),
    Measurement(
        "simulated",
        "simulated = []\n"
        "for laws in stationary:\n"
        "    keys = jax.random.split(jax.random.key({seed}), len(laws))\n"
        "    simulated.append([\n"
        "        ensemble(law.optimizer, problem, {long_steps}, key=key{x0}, "
        "save_every={long_steps})\n"
        "        for law, key in zip(laws, keys)\n"
        "        if law.map.cov.trace() > 0  # it is NaN where there is no law\n"
        "    ])",
        with_stationary_law,
        _simulated,
    ),
    Measurement(
        "weak_orders",
        "weak_orders = []\n"
        "for optimizer in {optimizers}:\n"
        "    time = {few_steps} * float(optimizer.h)\n"
        "    order = analysis.weak_order(optimizer, problem, None, time, "
        f"{WEAK_REFINEMENTS}{{x0}}, key={{seed}})\n"
        "    weak_orders.append(order)",
        with_weak_order,
        _weak_order,
    ),
    of_map("half_times", with_groups, "long_steps", "run"),
    of_map("retrieval", with_sentences),
    of_map("robustness", with_unseen_examples),
)

# What a figure is drawn from, unless from `comparisons` alone; and what else it needs.
SHOWN = {
    "convergence": ("orders",),
    "modified": ("modified",),
    "field": ("fields",),
    "stability": ("stability", "sensitivity"),
    "basins": ("basins",),
    "overview": ("comparisons", "orders"),
    "spectrum": ("spectra",),
    "inside": ("insides",),
    "explorer": ("explorers",),
    "ensemble": ("ensembles",),
    "langevin": ("samples",),
    "stationary": ("stationary", "simulated"),
    "weak_order": ("weak_orders",),
    "half_times": ("half_times",),
    "robustness": ("robustness",),
    "retrieval": ("retrieval",),
}
NEEDS = {"paths": in_a_plane, "animation": in_a_plane, "phase": with_velocity}


def shown_in(figure: str) -> list[Measurement]:
    """The measurements that a figure is drawn from, in the order of its arguments."""
    by_name = {measurement.name: measurement for measurement in MEASUREMENTS}
    return [by_name[name] for name in SHOWN.get(figure, ("comparisons",))]


def needed_for(figure: str, problem: Problem, optimizers: Optimizers) -> dict[str, Sequence[str]]:
    """For each measurement that a figure is drawn from, the names of the optimizers to measure.

    **Raises:** `InvalidValue` if the figure cannot be drawn of this problem and these optimizers.
    """
    try:
        if figure not in OF_NOISE and any(map(noise_of, optimizers.values())):
            raise InvalidValue(
                "shows runs without random numbers; leave out --noise, --batch and --temperature, "
                "or draw --figures ensemble."
            )
        NEEDS.get(figure, every)(problem, optimizers)
        return {one.name: one.fits(problem, optimizers) for one in shown_in(figure)}
    except InvalidValue as error:
        raise InvalidValue(f"`{figure}` {error}") from None


def measure(study: "Study", name: str) -> Results:
    """All results of one optimizer of the study."""
    with jax.enable_x64(True), blame(study.called, study.source.file):
        return {
            measurement.name: measurement.measure(study, study.optimizers[name])
            for measurement in MEASUREMENTS
            if name in study.measured.get(measurement.name, ())
        }


def ensembles_in(results: Any) -> list[Ensemble]:
    """The ensembles among results, at any depth."""
    leaves = jax.tree.leaves(results, is_leaf=lambda one: isinstance(one, Ensemble))
    return [one for one in leaves if isinstance(one, Ensemble)]


def whole_runs(measured: Results) -> list[Trajectory | Ensemble]:
    """Map and flow of one optimizer, with all their steps."""
    comparisons, pairs = measured.get("comparisons", ()), measured.get("ensembles", ())
    return [*(run for one in comparisons for run in (one.map, one.flow)), *sum(pairs, [])]


def has_failed(measured: Results) -> bool:
    """Whether a run among the results has failed, or a path of an ensemble."""
    return any(
        not one.ok.all() if isinstance(one, Ensemble) else one.status != 0
        for one in [*whole_runs(measured), *ensembles_in(measured)]
    )


def settings(study: "Study", figure: str) -> dict[str, str]:
    """What `draw` of a figure is told besides its results: of a race, how rates were chosen."""
    if figure != "race":
        return {}
    chosen: dict[bool, list[str]] = {True: [], False: []}
    for name, optimizer in study.optimizers.items():
        by_hand = study.options.learning_rate or "learning_rate" in study.options.set.get(name, {})
        chosen[bool(by_hand)].append(optimizer.name)
    given, suggested = (join_words(names) if names else "" for names in chosen.values())
    is_game = study.problem.owns_field
    if not given:
        return {"rates": "one learning rate" if is_game else "the suggested learning rates"}
    others = f"{gallery.GAME_RATE:g}" if is_game else "suggested"
    also = f" for {given} and {others} for {suggested}" * bool(suggested)
    return {"rates": f"learning rates given by hand{also}"}


def draw(study: "Study", figure: str, results: Sequence[Results]) -> Drawing | None:
    """One figure of the study; None if nothing that it shows could be measured."""
    lists = [
        [result for each in results for result in each.get(measurement.name, ())]
        for measurement in shown_in(figure)
    ]
    if not lists[0]:
        return None
    if figure == "explorer":
        return lists[0][0]
    if figure in ONE_EACH:
        lists = [one for (one,) in lists]
    if any(one.num_ok < 2 for one in ensembles_in(lists)):
        return None
    with jax.enable_x64(True), blame(study.called, study.source.file):
        return FIGURES[figure].draw(*lists, style=study.options.style, **settings(study, figure))
