"""The numbers of the explorer, computed by a JavaScript engine, against closed forms and Python."""

import json

import numpy as np
import pytest
from py_mini_racer import MiniRacer

import dynopt
from dynopt import SGD, Adam, Momentum, RMSprop, problems
from dynopt.explorer import explore, explorer

EIGENVALUES = np.array([1.0, 10.0])
PROBLEMS = [problems.quadratic(EIGENVALUES.tolist()), problems.himmelblau(), problems.dirac_gan()]
OPTIMIZERS = [
    SGD(0.17),
    Momentum(0.05),
    RMSprop(0.1, bias_correction=True),
    Adam(0.1, b2=0.99),
]
X0 = [-2.0, 1.5]
STEPS = 40


@pytest.fixture(scope="module")
def text():
    return explore(PROBLEMS, OPTIMIZERS, STEPS).html


@pytest.fixture(scope="module")
def call(text):
    return engine_of(text)


def engine_of(text):
    """A function that evaluates JavaScript beside the engine of the file."""
    engine = text.partition("(() => {\n")[2].partition("\nconst { OPTIMIZERS, PROBLEMS")[0]
    context = MiniRacer()
    context.eval(f"{engine}\nconst E = engine(), OPTIMIZERS = E.OPTIMIZERS;")

    def evaluate(function, **request):
        return json.loads(context.eval(f"JSON.stringify(({function})({json.dumps(request)}))"))

    return evaluate


def request(j, hyper, p=0, n=1, steps=STEPS, **others):
    return {"j": j, "p": p, "hyper": hyper, "n": n, "x0": X0, "steps": steps, **others}


def positions(call, **values):
    return np.array(call("q => E.mapOf(q).points.map(y => [y[0], y[1]])", **values))


def samples(call, tolerance, per=4, **values):
    found = call("E.flowOf", **values, tolerance=tolerance, per=per)
    return np.reshape(found["samples"], (-1, 2)), found["steps"]


def test_four_optimizers_with_their_modified_flows_take_less_than_half_of_the_limit(text):
    assert text.count("modified:function") == 4
    assert 60_000 < len(text) < explorer.MAX_BYTES / 2


def test_the_map_of_gradient_descent_is_its_closed_form(call):
    k = np.arange(STEPS + 1)[:, None]
    found = positions(call, **request(0, [0.17]))
    np.testing.assert_allclose(found, X0 * (1 - 0.17 * EIGENVALUES) ** k, atol=1e-13)
    refined = positions(call, **request(0, [0.17], n=4))
    np.testing.assert_allclose(refined, X0 * (1 - 0.17 / 4 * EIGENVALUES) ** k, atol=1e-13)


@pytest.mark.parametrize("tolerance", [1e-5, 1e-8, 1e-11])
def test_the_solver_errs_by_a_small_multiple_of_its_tolerance_at_all_times(call, tolerance):
    t = 0.17 * np.arange(4 * STEPS + 1)[:, None] / 4
    found, _ = samples(call, tolerance, **request(0, [0.17], modified=False))
    error = np.abs(found - X0 * np.exp(-EIGENVALUES * t)).max()
    assert tolerance < error < 500 * tolerance


def test_the_solver_has_order_eight(call):
    """A tolerance ε costs about ε^(-1/8) steps: eight powers of ten cost ten times as many."""
    values = request(1, [0.05, 0.9], modified=False, steps=400)
    few, many = (samples(call, tolerance, **values)[1] for tolerance in (1e-5, 1e-13))
    assert 7 < many / few < 12


@pytest.mark.parametrize(("j", "p"), [*((j, 1) for j in range(len(OPTIMIZERS))), (1, 2)])
def test_maps_and_flows_are_those_of_python(call, j, p):
    optimizer = OPTIMIZERS[j].refine(10)
    hyper = [float(v) for v in optimizer.hyperparameters().values() if v > 0]
    values = request(j, hyper, p=p)
    start = X0 if p == 1 else dict(zip(("psi", "theta"), X0, strict=True))
    python = dynopt.iterate(optimizer, PROBLEMS[p], STEPS, x0=start)
    np.testing.assert_allclose(positions(call, **values), python.y.x, atol=1e-11)
    flow = dynopt.integrate(optimizer, PROBLEMS[p], STEPS, x0=start, save_every=1 / 4, rtol=1e-12)
    np.testing.assert_allclose(
        samples(call, 1e-11, **values, modified=False)[0], flow.y.x, atol=1e-7
    )


def test_the_gradient_and_the_loss_are_those_of_python(call):
    x = np.array(X0)
    a, b = x[0] ** 2 + x[1] - 11, x[0] + x[1] ** 2 - 7
    problem = "q => [E.PROBLEMS[1].loss(q.x), E.PROBLEMS[1].g0(q.x)]"
    loss, gradient = call(problem, x=X0)
    assert loss == pytest.approx(a**2 + b**2, rel=1e-14)
    assert gradient == pytest.approx([4 * x[0] * a + 2 * b, 2 * a + 4 * x[1] * b], rel=1e-14)


def test_a_map_diverges_where_dynopt_says(call):
    values = request(0, [0.3])  # the second coordinate is multiplied by -2 in each step
    found = call(
        "q => { const { points, status } = E.mapOf(q); return [points.length, status] }", **values
    )
    k = np.arange(STEPS + 1)[:, None]
    radius = np.linalg.norm(X0 * (1 - 0.3 * EIGENVALUES) ** k, axis=1)
    first = np.argmax(radius > (1 + np.linalg.norm(X0)) / np.sqrt(np.finfo(float).eps))
    assert found == [first, "diverged"]
    trajectory = dynopt.iterate(SGD(0.3), PROBLEMS[0], STEPS, x0=X0, throw=False)
    assert trajectory.stats["first_bad_step"] == first


@pytest.mark.parametrize(
    ("j", "hyper", "limit"),
    [
        (0, [0.1], 2 / 7),
        (1, [0.1, 0.9], 2 * (1 + 0.9) / 7),
        (1, [0.1, 0.5], 2 * (1 + 0.5) / 7),
        (2, [0.1, 0.9, 1e-8], None),  # a step that is not proportional to the gradient
        (3, [0.1, 0.9, 0.99, 1e-8], None),
    ],
)
def test_the_mark_of_a_slider_is_the_stability_limit(call, j, hyper, limit):
    found = call("q => E.stabilityLimit(q.j, q.hyper, 1, 7)", j=j, hyper=hyper)
    assert found == (limit if limit is None else pytest.approx(limit, rel=2e-3))


@pytest.mark.parametrize(("modified", "divisor"), [(False, 2), (True, 4)])
def test_halving_divides_the_largest_error_by_two_and_with_the_modified_flow_by_four(
    call, modified, divisor
):
    values = request(0, [0.02], n=4, modified=modified, full=True)
    found = call(
        "q => { const r = E.compare(q); return [r.divisor, r.errors[r.worst], r.solverError] }",
        **values,
    )
    assert found[0] == pytest.approx(divisor, rel=0.05)
    assert 0 < found[2] < 1e-3 * found[1]


def test_a_modified_flow_that_needs_the_second_derivative_of_the_gradient_has_it():
    optimizer = dynopt.Extragradient(SGD(0.01))
    text = explore(PROBLEMS[1], optimizer, 4).html
    found = samples(engine_of(text), 1e-11, **request(0, [0.01], steps=4, modified=True))[0]
    modified = dynopt.Modified(optimizer)
    flow = dynopt.integrate(modified, PROBLEMS[1], 4, x0=X0, save_every=1 / 4, rtol=1e-12)
    np.testing.assert_allclose(found, flow.y.x, atol=1e-7)
    usual = dynopt.integrate(optimizer, PROBLEMS[1], 4, x0=X0, save_every=1 / 4)
    assert np.abs(found - np.array(usual.y.x)).max() > 1e-3


@pytest.mark.parametrize(
    ("rate", "manner", "leaves"), [(0.02, "ahead", False), (0.17, "beside", False), (0.3, "", True)]
)
def test_the_words_tell_along_from_beside_and_name_the_step_of_leaving(call, rate, manner, leaves):
    values = request(0, [rate], modified=False, full=False)
    found = call("q => { const r = E.compare(q); return [r.manner, r.leavesAt] }", **values)
    assert (found[1] > 0) == leaves
    assert leaves or found[0] == manner


@pytest.mark.parametrize(
    ("j", "hyper", "factor"), [(2, [0.1, 0.9, 1e-8], 2), (3, [0.1, 0.8, 0.95, 1e-8], 2 * 1.8 / 0.2)]
)
def test_the_mark_of_an_adaptive_optimizer_is_the_limit_with_the_memory_at_the_end(
    call, j, hyper, factor
):
    """With v frozen, Adam is stable up to λ η/√v = (2 + 2β₁)/(1 - β₁), and RMSprop up to 2."""
    values = request(j, hyper, modified=False, full=True)
    limit, is_of_end, y = call(
        "q => { const r = E.compare(q); return [r.limit, r.isOfEnd, r.flow.end[1]] }", **values
    )
    decay = hyper[-2]
    v = decay * np.array(y[-2:]) / (1 - decay ** (STEPS + 1))  # the step forgets, and corrects
    assert is_of_end and limit == pytest.approx(factor * (np.sqrt(v) / EIGENVALUES).min(), rel=0.02)


def test_no_mark_stands_where_the_loss_is_curved_downwards(call):
    point = "[1, [-0.3, -0.9, 0.1, 0.1]]"  # next to the maximum of Himmelblau
    found = call(f"q => E.limitAtEnd(2, [0.1, 0.9, 1e-8], 1, E.PROBLEMS[1], {point})")
    assert found is None
