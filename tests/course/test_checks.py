"""A check accepts the right answer and no other, and its error says what would help."""

import math
import re

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dynopt import ODE, SGD, Adam, Momentum, Stepped, analysis, problems
from dynopt.course import adam_steps, check, design, one_loss
from dynopt.errors import DynoptError, InvalidType, InvalidValue, UnknownName
from dynopt.optimizers import MomentumState

MY_SEAL = check.seal("mine", 0.5, relative=0.02)


@pytest.mark.parametrize("value", [1e-12, -3e-4, 0.5, -1.0, 2.71, 1e9])
@pytest.mark.parametrize("tolerance", [1e-3, 0.02, 1 / 3])
@pytest.mark.parametrize("kind", ["relative", "absolute"])
def test_a_seal_accepts_numbers_within_its_tolerance_and_no_others(value, tolerance, kind, capsys):
    width = tolerance * (abs(value) if kind == "relative" else 1)
    seal = check.seal("x", value, **{kind: tolerance})
    for fraction in (-0.98, -0.5, 0, 0.5, 0.98):
        check.close("x", value + fraction * width, seal=seal)
    for fraction in (-1.02, 1.02, -5, 5):
        with pytest.raises(check.WrongAnswer):
            check.close("x", value + fraction * width, seal=seal)
    assert capsys.readouterr().out.count("✓ x") == 5


def test_a_seal_depends_on_signs_length_order_and_exercise():
    seal = check.seal("x", [2.0, -3.0], relative=0.01)
    check.close("x", np.array([[2.0], [-3.0]]), seal=seal)
    for wrong in (
        [-2.0, -3.0],
        [-3.0, 2.0],
        [2.0],
        [2.0, -3.0, 0.0],
        [math.nan, -3.0],
        [math.inf, -3.0],
        [0.0, -3.0],
    ):
        with pytest.raises(check.WrongAnswer):
            check.close("x", wrong, seal=seal)
    with pytest.raises(check.WrongAnswer):
        check.close("y", [2.0, -3.0], seal=seal)


@pytest.mark.parametrize("value", [0.5, -0.5, 2.0, -2.0])
def test_a_seal_accepts_no_number_of_the_other_sign(value):
    seal = check.seal("x", value, relative=0.01)
    for other in -np.sign(value) * np.geomspace(1e-3, 1e3, 20_000):
        assert not check.seals.matches(seal, "x", [other])


def test_a_seal_does_not_show_the_answer():
    """A seal is a phase and a hash, and very different answers may share the phase."""
    digest = "[0-9a-f]{16}"
    assert re.fullmatch(rf"relative 0.02 \d{{5}}:{digest}", check.seal("x", 2.71828, relative=0.02))
    assert re.fullmatch(
        rf"absolute 0.1 \d{{5}}:{digest} \d{{5}}:{digest}", check.seal("x", [1, 2], absolute=0.1)
    )
    phases = {
        check.seal("x", 2.0 * (1.02 / 0.98) ** n, relative=0.02).split(":")[0]
        for n in range(-50, 50)
    }
    assert len(phases) <= 2  # one, or two neighbours by rounding


@pytest.mark.parametrize("kind, tolerance", [("relative", 0.05), ("absolute", 0.3)])
@pytest.mark.parametrize("value", [0.7, -3.0])
def test_an_answer_within_three_tolerances_is_called_close(value, kind, tolerance):
    width = tolerance * (abs(value) if kind == "relative" else 1)
    seal = check.seal("x", [value, 5.0], **{kind: tolerance})
    words = "15 %, asked within 5 %" if kind == "relative" else "0.9, asked within 0.3"
    for fraction in (-2.8, -1.1, 1.1, 2.9):
        with pytest.raises(check.WrongAnswer, match=f"is close: within {words}. Give more digits."):
            check.close("x", [value + fraction * width, 5.0], seal=seal, hint="No.")
    for fraction in (-3.1, 3.1):
        with pytest.raises(check.WrongAnswer, match="is not the right answer, asked within .*No."):
            check.close("x", [value + fraction * width, 5.0], seal=seal, hint="No.")


def test_no_answer_is_close_with_a_wide_tolerance():
    seal = check.seal("x", 1.0, relative=0.1)
    with pytest.raises(check.WrongAnswer, match="1.15 is not the right answer, asked within 10 %"):
        check.close("x", 1.15, seal=seal, hint="No.")


def test_a_check_calls_the_function_itself(capsys):
    seal, called = check.seal("x", [4.0, 9.0, 25.0], relative=0.01), []
    check.close("x", lambda x: called.append(x) or x**2, 2.0, np.array([3.0, 5.0]), seal=seal)
    assert capsys.readouterr().out == "✓ x: (4, 9, 25)\n" and len(called) == 2
    with pytest.raises(check.WrongAnswer):
        check.close("x", lambda x: 4.0 + 0 * x, 2.0, np.array([3.0, 5.0]), seal=seal)
    with pytest.raises(
        check.NoAnswer,
        match="x: the check calls your function itself, and got 4.0 in its place; pass the function",
    ):
        check.close("x", 4.0, 2.0, seal=seal)
    with pytest.raises(ZeroDivisionError):
        check.close("x", lambda x: x / 0, 2.0, seal=seal)
    with pytest.raises(check.NoAnswer, match="the result of your function must be a number"):
        check.close("x", lambda x: "four", 2.0, seal=seal)


def test_a_slope_is_fitted_to_the_logarithms(capsys):
    h = [0.1, 0.05, 0.025]
    seal = check.seal("x", [2.0, math.log(3 * 0.025**2)], absolute=0.3)
    check.slope("x", lambda h: 3 * h**2.05, h, seal=seal)
    assert capsys.readouterr().out == "✓ x: a slope of 2.05 (last error 0.0016)\n"
    for wrong in (lambda h: 3 * h, lambda h: 30 * h**2, lambda h: 1.0):
        with pytest.raises(
            check.WrongAnswer, match="is not the right answer, asked within 0.3. Th"
        ):
            check.slope("x", wrong, h, seal=seal, hint="Think.")
    with pytest.raises(
        InvalidValue,
        match="needs at least three different time steps `h`, and one error for each, got 2 "
        "different time steps and 2 errors; choose more points",
    ):
        check.slope("x", lambda h: h, h[:2], seal=seal)
    with pytest.raises(InvalidValue, match="got 1 different time steps and 3 errors"):
        check.slope("x", lambda h: h, [0.1] * 3, seal=seal)
    for error in (lambda h: 0.0, lambda h: math.nan, lambda h: -h):
        with pytest.raises(InvalidValue, match="some `h` or error is not positive and finite"):
            check.slope("x", error, h, seal=seal)


def test_a_slope_is_fitted_to_the_chosen_points_of_a_measurement(capsys):
    measured = analysis.order(SGD(0.01), problems.quadratic([1.0]), 0.1, 4, x0=[1.0])
    h = measured.h  # (1 - h)^(t/h) and e^-t at the times 0, 0.01, ..., 0.1
    t = 0.01 * np.arange(11)
    error = [np.abs((1 - s) ** (t / s) - np.exp(-t)).max() for s in h]
    seal = check.seal("x", [np.log2(error[1] / error[3]) / 2, np.log(error[3])], absolute=1e-3)
    for at in (slice(1, None), [1, 2, 3], np.array([3, 2, 1])):
        check.slope("x", measured, at, seal=seal)
    assert capsys.readouterr().out.count("✓ x: a slope of 1") == 3
    for at in ("fine", [7, 8, 9], h, 0.5):
        with pytest.raises(
            check.NoAnswer, match=r"chosen by their numbers 0 to 3, got .*; pass slice\(0, 3\)"
        ):
            check.slope("x", measured, at, seal=seal)


def test_rows_of_numbers_have_no_slope():
    seal = check.seal("x", [1.0, 0.0], absolute=0.1)
    for made_up in ([0.1, 0.05, 0.025], 1.0, np.ones(3), lambda h: h):
        with pytest.raises(
            check.NoAnswer,
            match="x: a slope is fitted to a result of analysis.order, or to a function that gives "
            "the error of a time step, got .*; pass one of the two",
        ):
            check.slope("x", made_up, seal=seal)


def test_what_is_measured_of_the_answer_must_be_below_the_bound(capsys):
    check.below("x", abs, -2.0, 3.0, hint="No.")
    check.below("x", abs, -3.0, 3.0, hint="No.")
    assert capsys.readouterr().out == "✓ x: abs 2\n✓ x: abs 3\n"
    for wrong, shown in ((-4.0, "4"), (math.nan, "nan")):
        with pytest.raises(
            check.WrongAnswer, match=f"x: abs is {shown}, and the exercise asks for at most 3. No."
        ):
            check.below("x", abs, wrong, 3.0, hint="No.")
    with pytest.raises(check.Unanswered):
        check.below("x", abs, ..., 3.0, hint="No.")


def test_a_step_is_compared_with_optax_and_what_is_no_step_is_refused(as_users_see_it):
    """The distance that a hundred steps of optax.adam(0.02) leave behind, for one that rests."""
    booth = problems.booth()
    x = jnp.array(booth.x0)
    m = v = jnp.zeros(2)
    for k in range(1, 101):
        g = jax.grad(booth.loss)(x)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        x = x - 0.02 * (m / (1 - 0.9**k)) / (jnp.sqrt(v / (1 - 0.999**k)) + 1e-8)
    far = adam_steps.difference(lambda k, x, m, v, g: (x, m, v))
    assert far == pytest.approx(float(jnp.abs(x - jnp.array(booth.x0)).max()), rel=1e-9)
    assert adam_steps.difference(lambda *_: ...) is ...
    for wrong in (lambda *_: 1.0, lambda k, x, m, v, g: (x, m), lambda k, x, m, v, g: (x, m, 0.0)):
        with pytest.raises(
            InvalidType, match="a step must return the next x, m and v, each of two"
        ):
            adam_steps.difference(wrong)
    with pytest.raises(InvalidType, match="`step` must be a function, got 0.0; pass your step"):
        adam_steps.difference(0.0)


def test_the_disagreement_is_that_of_the_angles(as_users_see_it):
    """Without memory Adam is sign descent; a cosine cannot be passed in its place."""
    assert adam_steps.disagreement(Adam(0.1, b1=0.0, b2=0.0)) == pytest.approx(0, abs=1e-6)
    assert 0.5 < adam_steps.disagreement(Adam(1.0)) < 1
    for made_up in (5, 0.99, SGD(0.1)):
        with pytest.raises(InvalidType, match="`optimizer` must be an Adam, got .*; pass Adam"):
            adam_steps.disagreement(made_up)


def test_one_loss_is_compared_with_two_in_its_field_and_its_derivatives(as_users_see_it):
    """Behind stop_gradient the field is right, and its Jacobian lacks the other player.

    With s = θψ and σ(s) = 1/(1 + e⁻ˢ) the field is g = (ψ σ(s), -θ σ(-s)), and what is lacking is
    ∂g₁/∂ψ = σ(s) + s σ(s) σ(-s) and ∂g₂/∂θ = -σ(-s) + s σ(s) σ(-s).
    """

    def loss(x, held):
        return -jax.nn.log_sigmoid(-x[0] * held[1]) - jax.nn.log_sigmoid(held[0] * x[1])

    s = np.prod(np.asarray(one_loss.POSITIONS), axis=1)
    up, down = 1 / (1 + np.exp(-s)), 1 / (1 + np.exp(s))
    lacking = np.abs([up + s * up * down, -down + s * up * down]).max()
    assert one_loss.difference(loss) <= 1e-15
    stopped = one_loss.difference(lambda x, held: loss(x, jax.lax.stop_gradient(x)))
    assert stopped == pytest.approx(lacking, rel=1e-12)
    theta, psi = np.asarray(one_loss.POSITIONS).T
    nothing = np.abs([psi * up, theta * down, up + s * up * down, -down + s * up * down]).max()
    assert one_loss.difference(lambda x, held: 1.0) == pytest.approx(nothing, rel=1e-12)
    assert one_loss.difference(lambda *_: ...) is ...
    for wrong in (lambda x, held: x, lambda x, held: "one", lambda x, held: (x[0], x[1])):
        with pytest.raises(InvalidType, match="a loss must return one number, got .*; add the"):
            one_loss.difference(wrong)
    with pytest.raises(InvalidType, match="`loss` must be a function, got 0.0; pass your loss"):
        one_loss.difference(0.0)


def test_an_answer_that_still_has_dots_is_unanswered():
    with pytest.raises(
        check.Unanswered, match="01-a waits for your answer: put it in place of the dots."
    ):
        check.close("01-a", ...)
    with pytest.raises(check.Unanswered):
        check.close("01-a", [1.0, ...])
    with pytest.raises(check.Unanswered):
        check.close("13-b", [[..., ...], [..., ...]])
    with pytest.raises(check.Unanswered, match="x waits for your answer"):
        check.close("x", lambda x: ..., 1.0, seal=MY_SEAL)


def test_a_notebook_shows_the_sentence_of_an_error_and_no_traceback():
    assert check.WrongAnswer("01-a: 3 is not right.")._render_traceback_() == [
        "✗ 01-a: 3 is not right."
    ]
    assert check.Unanswered("01-a waits.")._render_traceback_() == ["○ 01-a waits."]
    assert check.NoAnswer("01-a: no.")._render_traceback_() == ["✗ 01-a: no."]
    assert issubclass(check.NoAnswer, InvalidType)
    assert issubclass(check.WrongAnswer, DynoptError) and issubclass(
        check.WrongAnswer, AssertionError
    )


def test_mistyped_names_and_other_checks_are_refused():
    with pytest.raises(UnknownName, match="no exercise '01-d'; did you mean 01-"):
        check.close("01-d", 1.0)
    with pytest.raises(UnknownName, match="no exercise 'seventeen'. Known: 00-a"):
        check.close("seventeen", 1.0)
    with pytest.raises(InvalidValue, match="01-a is not for check.slope; call check.close instead"):
        check.slope("01-a", lambda h: h, [1, 2, 3])


def test_rows_of_a_matrix_may_be_given_one_by_one(capsys):
    seal = check.seal("x", [1.0, 2.0, 3.0, 4.0], relative=0.01)
    check.close("x", [np.array([1.0, 2.0]), jnp.array([3.0, 4.0])], seal=seal)
    assert capsys.readouterr().out == "✓ x: (1, 2, 3, 4)\n"


def test_a_check_without_a_valid_seal_is_refused():
    for ask in (
        check.close,
        lambda name, answer, **o: check.slope(name, answer, answer, **o),
    ):
        with pytest.raises(
            InvalidValue,
            match="a hint alone does not tell the right answer; also pass seal=check.seal",
        ):
            ask("mine", 0.5, hint="No.")
        with pytest.raises(InvalidValue, match="'nonsense' is no seal; make one by check.seal"):
            ask("mine", 0.5, seal="nonsense")
    with pytest.raises(InvalidValue, match="'relative 0.02 12345:090fcc' is no seal"):
        check.close("mine", 0.5, seal="relative 0.02 12345:090fcc")


@pytest.mark.parametrize(
    "wrong",
    ["0.5", "-1/(2e)", None, True, len, object(), {1.0}, [[1.0], [1.0, 2.0]], 1 + 2j, ["1", "2"]],
)
def test_what_is_no_number_is_refused(wrong):
    with pytest.raises(
        check.NoAnswer,
        match="mine: `answer` must be a number, or a row of them, got .*; write a number such as 43.21 "
        "without quotes",
    ):
        check.close("mine", wrong, seal=MY_SEAL)


@pytest.mark.parametrize(
    "value, options",
    [
        (1.0, {}),
        (1.0, {"relative": 0.1, "absolute": 0.1}),
        (1.0, {"relative": 1.0}),
        (1.0, {"absolute": 0.0}),
        (0.0, {"relative": 0.1}),
        (math.nan, {"absolute": 0.1}),
        (1.0, {"relative": 1e-20}),
        ([], {"absolute": 0.1}),
    ],
)
def test_what_cannot_be_sealed_is_refused(value, options):
    with pytest.raises(InvalidValue, match="; pass "):
        check.seal("x", value, **options)


def test_only_numbers_can_be_sealed():
    with pytest.raises(check.NoAnswer, match="x: `answer` must be a number, or a row of them"):
        check.seal("x", "B", absolute=0.1)


# --- methods and equations of notebook 12


def look_ahead(a):
    """Two gradients; R = 1 - z + a z²."""
    return lambda F, x, h: x + h * F(x + a * h * F(x))


def chebyshev(F, x, h):
    """Three gradients; R = T₃(1 - z/9), by T₃(w) = 2 w T₂(w) - T₁(w), and so on."""
    before, now = x, x + h / 9 * F(x)
    for _ in range(2):
        before, now = now, 2 * (now + h / 9 * F(now)) - before
    return now


@pytest.mark.parametrize(
    "step, gradients, longest",
    [
        (look_ahead(0.0), 2, 2.0),
        (look_ahead(1 / 4), 2, 4.0),  # R = (1 - z/2)²
        (look_ahead(1 / 8), 2, 8.0),  # R = T₂(1 - z/4)
        (look_ahead(0.12), 2, (1 - 0.04**0.5) / 0.24),  # R = -1
        (look_ahead(0.14), 2, 1 / 0.14),  # R = 1
        (chebyshev, 3, 18.0),
    ],
)
def test_the_cost_is_the_gradients_over_the_longest_stable_time_step(step, gradients, longest):
    assert gradients / longest <= design.cost(step) * (1 + 1e-12) < gradients / (longest - 0.0011)


def test_what_is_no_method_for_the_gradient_flow_has_no_cost(as_users_see_it):
    assert design.cost(lambda *_: ...) is ...
    assert design.cost(lambda F, x, h: x + h * F(x) + 1e16 * h**6) == math.inf
    with pytest.raises(InvalidType, match="`step` must be a function, got 0.5; pass your step"):
        design.cost(0.5)
    with pytest.raises(InvalidType, match="a step must return the next position, here one number"):
        design.cost(lambda F, x, h: [x, h])
    for wrong in (lambda F, x, h: x, lambda F, x, h: x * (1 - h), lambda F, x, h: x - h * F(x)):
        with pytest.raises(InvalidValue, match="from 1 to 1 - 2h .*; return x \\+ h \\* F"):
            design.cost(wrong)


def rolling(t, y, grad):
    return MomentumState(x=y.p, p=-grad(y.x) - 2 * y.p)


def at_rest(x, grad):
    return MomentumState(x, 0 * x)


@pytest.mark.parametrize("solver", [None, diffrax.Heun()], ids=["Euler", "Heun"])
def test_the_loss_that_is_left_is_that_of_the_powers_of_a_matrix(solver):
    curvatures, equation = np.geomspace(1, 100, 20), ODE(rolling, at_rest, 0.02)
    left = 0.0
    for curvature in curvatures:
        z = 0.02 * np.array([[0.0, 1.0], [-curvature, -2.0]])
        step = np.eye(2) + z + (0 if solver is None else z @ z / 2)
        power = np.linalg.matrix_power(step, 200 if solver is None else 100)
        left += curvature * power[0, 0] ** 2 / 2
    optimizer = equation if solver is None else Stepped(equation, solver)
    assert design.loss_left(optimizer) == pytest.approx(left, rel=1e-9)


def test_only_equations_of_ones_own_with_counted_gradients_have_a_loss_left(as_users_see_it):
    for wrong in (Momentum(0.01), Stepped(SGD(0.01), diffrax.Heun()), 0.5):
        with pytest.raises(InvalidType, match="must be made of an equation of your own, got .*ODE"):
            design.loss_left(wrong)
    implicit = Stepped(ODE(rolling, at_rest, 1.0), diffrax.ImplicitEuler())
    with pytest.raises(InvalidValue, match="an implicit solver also takes Hessian matrices"):
        design.loss_left(implicit)
