"""A solution that slides along a jump of its vector field is called so, at the time it begins."""

import diffrax
import jax.numpy as jnp
import numpy as np
import pytest

from dynopt import SGD, Lion, Problem, Signum, integrate, problems
from dynopt.errors import SolverFailure
from dynopt.runs.status import Status

ABSOLUTE = Problem(lambda x: jnp.sum(jnp.abs(x)) + x[1] ** 2, [0.5, 0.7], name="absolute")
SPECTRAL = problems.spectral_shrinkage(smooth=None)
STIFF = Problem(lambda x: jnp.array([1e7, 1.0]) @ x**2 / 2, [1.0, 1.0], name="stiff")
BOOTH = problems.booth()


@pytest.mark.parametrize(
    ("optimizer", "problem", "begin"),
    [
        (SGD(0.01), ABSOLUTE, np.log(2.4) / 2),  # x₁′ = -1 - 2 x₁ comes to 0 then, and x₀ at 0.5
        (SGD(0.01), SPECTRAL, -np.log(0.8)),  # 3 - (1 - e^(-t)) = 2.8
    ],
)
def test_gradient_descent_slides_from_the_time_at_which_its_path_meets_a_kink(
    optimizer, problem, begin
):
    run = integrate(optimizer, problem, 100, max_steps=2**13, throw=False)
    assert run.status == Status.sliding
    reached = run.t[np.flatnonzero(run.finite)[-1]]
    assert begin - 0.01 < reached < begin + 0.01
    assert f"slides along a jump of its vector field from t = {reached:.4g}" in str(run.failure())


@pytest.mark.parametrize(
    ("optimizer", "problem", "steps"),
    [(Signum(0.01), BOOTH, 1500), (Lion(0.01), BOOTH, 1500)],
)
def test_jumps_that_surround_a_minimizer_are_crossed_ever_faster(optimizer, problem, steps):
    with pytest.raises(SolverFailure, match="slides .* run fewer steps, or smooth the jump") as e:
        integrate(optimizer, problem, steps)
    assert "in the loss, as smooth=8 does in spectral_shrinkage, or by" in str(e.value)
    assert e.value.status == Status.sliding and e.value.t_reached > 1


def test_what_is_advised_for_a_solution_that_slides_works():
    """A `smoothing` of the size of the gradient, or fewer steps, or a smooth loss."""
    for optimizer, problem, steps in (
        (Signum(0.01, smoothing=20), BOOTH, 1500),
        (Signum(0.01), BOOTH, 600),
        (SGD(0.01), problems.spectral_shrinkage(smooth=8), 100),
    ):
        assert integrate(optimizer, problem, steps).status == Status.ok


@pytest.mark.parametrize(
    ("optimizer", "problem", "max_steps"),
    [(SGD(0.01), STIFF, 2**13), (Signum(0.01), BOOTH, 20)],
    ids=["stiff", "few steps"],
)
def test_a_solver_that_used_up_its_steps_for_another_reason_does_not_slide(
    optimizer, problem, max_steps
):
    run = integrate(
        optimizer, problem, 200, solver=diffrax.Tsit5(), max_steps=max_steps, throw=False
    )
    assert run.status == Status.max_steps
