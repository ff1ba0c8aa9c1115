"""One table of measurements: what the command measures is what `--show-code` says."""

from contextlib import suppress

import equinox as eqx
import jax
import numpy as np
import pytest

from dynopt import SGD, Langevin, Problem, analysis, ensemble, explore, iterate, problems
from dynopt.compare import fits
from dynopt.compare.measurements import (
    FIGURES,
    MEASUREMENTS,
    OF_NOISE,
    draw,
    has_failed,
    measure,
    shown_in,
)
from dynopt.compare.options import Options
from dynopt.compare.screen import table
from dynopt.compare.script import measuring
from dynopt.compare.studies import _must_fit, plan
from dynopt.errors import InvalidValue, SolverFailure

ids = [measurement.name for measurement in MEASUREMENTS]
# Figures of what one kind of problem alone has, which are drawn from measurements of their names.
OF_LEARNING = {
    "robustness": "digits_network",
    "retrieval": "sentence_similarity",
    "half_times": "entity_linking",
}
NOISY = {measurement.name for figure in OF_NOISE for measurement in shown_in(figure)}


@pytest.fixture(scope="module")
def study():
    """Every figure of three optimizers: SGD has no momentum, and RMSprop no modified flow."""
    options = Options(
        problem=("booth",),
        optimizers=("sgd", "momentum", "rmsprop"),
        steps=5,
        x0=(-1.0, 2.0),
        figures=tuple(name for name in FIGURES if name not in {*OF_LEARNING, *OF_NOISE}),
    )
    (study,) = plan(options)
    return study


@pytest.fixture(scope="module")
def results(study):
    return [measure(study, name) for name in study.optimizers]


def must_measure_as_its_code(study, results, measurement):
    names = {
        "analysis": analysis,
        "ensemble": ensemble,
        "explore": explore,
        "iterate": iterate,
        "suppress": suppress,
        "SolverFailure": SolverFailure,
        "problem": study.problem,
        "optimizers": list(study.optimizers.values()),
        "jax": jax,
        "stationary": [law for each in results for law in each.get("stationary", ())],
    }
    exec(measuring(study, measurement), names)
    coded = names[measurement.name]
    measured = [result for each in results for result in each.get(measurement.name, ())]
    assert len(coded) == len(measured) > 0
    for one, other in zip(coded, measured, strict=True):
        assert type(one) is type(other) and repr(one) == repr(other)
        leaves = jax.tree.leaves(one), jax.tree.leaves(other)
        for a, b in zip(*leaves, strict=True):
            is_key = jax.dtypes.issubdtype(getattr(a, "dtype", float), jax.dtypes.prng_key)
            a, b = map(jax.random.key_data, (a, b)) if is_key else (a, b)
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", [name for name in ids if name not in {*OF_LEARNING, *NOISY}])
def test_the_code_of_a_measurement_gives_what_the_command_measures(study, results, name):
    must_measure_as_its_code(study, results, MEASUREMENTS[ids.index(name)])


@pytest.mark.parametrize("name", OF_LEARNING)
def test_the_code_of_a_measurement_of_learning_gives_what_the_command_measures(name):
    options = Options(
        problem=(OF_LEARNING[name],), optimizers=("sgd",), learning_rate=0.1, steps=2,
        figures=(name,),
    )  # fmt: skip
    (study,) = plan(options)
    must_measure_as_its_code(study, [measure(study, "sgd")], MEASUREMENTS[ids.index(name)])


def test_the_code_of_an_ensemble_gives_what_the_command_measures():
    options = Options(
        problem=("logistic_regression",), optimizers=("sgd",), learning_rate=0.1, steps=2,
        batch=8, seed=3,
    )  # fmt: skip
    (study,) = plan(options)
    assert study.figures == ("ensemble",) and list(study.measured) == ["ensembles"]
    results = [measure(study, "sgd")]
    of_map, of_flow = results[0]["ensembles"][0]
    assert (of_map.kind, of_flow.kind, len(of_map.t)) == ("map", "flow", 3)
    must_measure_as_its_code(study, results, MEASUREMENTS[ids.index("ensembles")])


def test_the_code_of_samples_gives_what_the_command_measures():
    options = Options(
        problem=("double_well",), optimizers=("sgd",), steps=2, temperature=0.5, seed=3,
    )  # fmt: skip
    (study,) = plan(options)
    assert study.figures == ("langevin",) and list(study.measured) == ["samples"]
    results = [measure(study, "sgd")]
    of_map, of_flow = results[0]["samples"]
    assert (of_map.kind, of_flow.kind) == ("map", "flow")
    assert of_flow.loss.shape == (4000, 2) and of_map.t[-1] == pytest.approx(20 * 0.045)
    must_measure_as_its_code(study, results, MEASUREMENTS[ids.index("samples")])
    langevin = Langevin(SGD(0.045), temperature=0.5)
    alone = ensemble(langevin, problems.double_well(), 20, 4000, key=3, save_every=20)
    np.testing.assert_array_equal(of_map.x, alone.x)

    one, all_of_them = (
        eqx.tree_at(lambda e: e.result, of_map, of_map.result.at[:failed].set(1))
        for failed in (1, 4000)
    )
    assert [has_failed({"samples": [of_flow, run]}) for run in (of_map, one)] == [False, True]
    assert draw(study, "langevin", [{"samples": [all_of_them, of_flow]}]) is None


REFUSED = {
    "`ensemble` needs noise; add --noise 0.5, or": {"figures": ("ensemble",)},
    "`paths` shows runs without .* leave out --noise": {"figures": ("paths",), "noise": 0.5},
    "`--noise` and `--batch` exclude each other": {"noise": 0.5, "batch": 8},
    "`--batch` and `--temperature` exclude": {"temperature": 0.5, "batch": 8},
    "`--seed` is that of --noise, .* add --noise 0.5": {"seed": 3},
    "is for sgd,momentum, got adam; write --optimizers sgd,momentum, or --noise 0.5 in": {
        "optimizers": ("sgd", "adam"), "temperature": 0.5,
    },
    "`langevin` needs a temperature; write --temperature 0.5.$": {"figures": ("langevin",)},
    "`langevin` needs a temperature; .* --temperature 0.5 in place of the other noise": {
        "figures": ("langevin",), "noise": 0.5,
    },
    "`langevin` needs a loss of one coordinate, but booth has 2; take --problem double_well": {
        "figures": ("langevin",), "temperature": 0.5,
    },
    "`weak_order` needs a limit of small time steps at one temperature, which adam does not": {
        "figures": ("weak_order",), "optimizers": ("adam",), "noise": 0.5,
    },
    "`stationary` needs a quadratic .* got himmelblau and sgd; write --problem quadratic": {
        "figures": ("stationary",), "problem": ("himmelblau",), "noise": 0.5,
    },
    "`stationary` finds no stationary law of sgd on booth; write a smaller --learning-rate": {
        "figures": ("stationary",), "learning_rate": 0.2, "noise": 0.5,
    },
    "an ensemble would take 7 GiB, more than 4; write for example --steps 50000": {
        "steps": 100_000, "noise": 0.5, "problem": ("deep_linear",),
    },
    "which rmsprop does not have, as it begins with v = 0; write --set rmsprop.bias_corr": {
        "optimizers": ("rmsprop",), "noise": 0.5,
    },
    "a problem over data for --batch, which booth is not; write --noise 0.5": {"batch": 8},
    "batches of 1000 examples, but logistic_regression has 40; write --batch 40": {
        "problem": ("logistic_regression",), "batch": 1000,
    },
}  # fmt: skip


@pytest.mark.parametrize("message", REFUSED)
def test_what_has_no_meaning_with_or_without_noise_is_refused(message):
    with pytest.raises(InvalidValue, match=message):
        plan(Options(**{"problem": ("booth",), "optimizers": ("sgd",)} | REFUSED[message]))


def test_without_a_problem_a_figure_is_that_of_the_problems_which_it_fits():
    options = Options(optimizers=("sgd",), figures=("stationary",), noise=0.5)
    (study,) = plan(options)
    assert study.called == "quadratic" and study.figures == ("stationary",)
    with pytest.raises(InvalidValue, match="but himmelblau has 2; take --problem double_well, or"):
        plan(Options(figures=("langevin",), temperature=0.5))


def test_runs_that_would_take_too_much_memory_are_refused_with_fewer_steps():
    large = Problem(lambda x: (x**2).sum(), np.ones(10_000), name="large")
    of_sgd = {"sgd": SGD(0.1)}, {"comparisons": ("sgd",)}
    with pytest.raises(InvalidValue, match="would take 7 GiB, more than 4; .* --steps 50000"):
        _must_fit(large, *of_sgd, 100_000)
    _must_fit(large, *of_sgd, 50_000)


def test_ensembles_are_refused_for_more_coordinates_than_fit(monkeypatch):
    monkeypatch.setattr(fits, "MOST_IN_ENSEMBLES", 1)
    with pytest.raises(InvalidValue, match="at most 1 coordinates, but booth has 2; run dynopt.en"):
        plan(Options(problem=("booth",), optimizers=("sgd",), noise=0.5))


@pytest.mark.parametrize("name", OF_LEARNING)
def test_a_figure_of_learning_is_refused_for_other_problems(name):
    with pytest.raises(
        InvalidValue, match=f"`{name}` needs .*booth does not have; .*--problem {OF_LEARNING[name]}"
    ):
        plan(Options(problem=("booth",), figures=(name,)))


def test_each_measurement_has_a_name_of_its_own_and_each_figure_a_measurement():
    assert len(set(ids)) == len(ids)
    assert all(shown_in(figure) for figure in FIGURES)
    shown = {measurement for figure in FIGURES for measurement in shown_in(figure)}
    assert shown == set(MEASUREMENTS)


def test_an_optimizer_is_measured_only_where_it_fits(study):
    assert study.measured["comparisons"] == ("sgd", "momentum", "rmsprop")
    assert list(study.measured["modified"]) == ["sgd", "momentum"]
    assert list(study.measured["stability"]) == ["momentum"]


def test_an_optimizer_without_stochastic_flow_has_no_ensemble_and_the_table_says_so():
    (study,) = plan(Options(problem=("booth",), optimizers=("sgd", "rmsprop"), noise=0.5))
    assert study.measured["ensembles"] == ["sgd"]
    assert "ensemble" in study.figures and len(study.files("ensemble")) == 1
    row = table(study, {"rmsprop": {}}).splitlines()[-1]
    assert row.startswith("rmsprop") and row.endswith("no stochastic flow")
