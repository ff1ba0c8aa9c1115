"""In units λ times as large a learning rate acts as λ² times itself, or as λ times, by how steps answer to gradients."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

from dynopt import SGD, Adam, Memoryless, Modified, Momentum, Problem, RMSprop, analysis
from dynopt.errors import InvalidType, InvalidValue, SolverFailure
from dynopt.optimizers import Accumulated, AdaGrad, Averaged, Layerwise, Schedule, Signum

STEPS = 30
SCALES = (3.0, 0.7, np.pi)


class Loss(eqx.Module):
    """Coupled and curved, on a position of two parts."""

    tilt: Array

    def __call__(self, x):
        a, b = x["a"], x["b"]
        return jnp.sum(jnp.cosh(a - b)) + 2 * (a[0] * b - 1) ** 2 + self.tilt * a[1]


valley = Problem(
    Loss(jnp.asarray(0.5)), {"a": np.array([1.0, -0.5]), "b": np.array(0.3)}, name="valley"
)
LINEAR = {"sgd": lambda rate: SGD(rate), "momentum": lambda rate: Momentum(rate, 0.8)}
SIGNED = {
    "adam": lambda rate: Adam(rate, 0.8, 0.9, eps=0.0),
    "signum": lambda rate: Signum(rate, 0.7),
    "rmsprop": lambda rate: RMSprop(rate, 0.8, eps=0.0, bias_correction=True),
}
POWERS = {name: (optimizer, 2.0) for name, optimizer in LINEAR.items()} | {
    name: (optimizer, 1.0) for name, optimizer in SIGNED.items()
}


@pytest.mark.parametrize("name", POWERS)
def test_the_rate_in_z_acts_in_x_as_the_square_of_the_scale_or_the_scale_times_itself(name):
    """λ² for gradient descent and the heavy ball; λ for Adam and RMSprop without ε, and for signs."""
    make, power = POWERS[name]
    for scale in SCALES:
        seen = analysis.rescaling(make(0.002), valley, STEPS, scale)
        assert seen.power == power - 1 and seen.factor == pytest.approx(scale**power, rel=1e-15)
        faster = analysis.rescaling(make(0.002 * scale**power), valley, STEPS, scale).map
        np.testing.assert_allclose(seen.same_rate.y.x, faster.y.x, rtol=0, atol=1e-12)
        assert seen.corrected_optimizer.h == pytest.approx(make(0.002 / scale**power).h, rel=1e-15)
        assert seen.distance.max() < 1e-12 < 1e-4 < seen.same_rate_distance.max()


def test_the_distances_are_those_of_the_runs_as_they_are_seen_in_x():
    seen = analysis.rescaling(SGD(0.01), valley, STEPS, 3.0)
    for run, distance in (
        (seen.corrected, seen.distance),
        (seen.same_rate, seen.same_rate_distance),
    ):
        np.testing.assert_array_equal(distance, jnp.linalg.norm(run.y.x - seen.map.y.x, axis=-1))
        np.testing.assert_allclose(run.x["a"][0], valley.x0["a"], rtol=1e-15)
        np.testing.assert_allclose(run.loss[0], seen.map.loss[0], rtol=1e-15)
    assert seen.corrected.t[-1] == pytest.approx(STEPS * 0.01 / 9)


def test_a_power_of_two_is_made_up_for_bit_by_bit():
    for scale in (0.25, 4.0):
        assert (analysis.rescaling(SGD(0.01), valley, STEPS, scale).distance == 0).all()


def test_with_a_floor_under_the_root_no_rate_makes_up_for_the_scale():
    """The negative control: Adam with ε = 1, and AdaGrad from a sum that is not 0."""
    for optimizer, least in (
        (Adam(0.05, eps=1.0), 1e-3),
        (AdaGrad(0.5, initial_accumulator_value=10.0), 1e-3),
    ):
        seen = analysis.rescaling(optimizer, valley, STEPS, 3.0)
        assert 0 < seen.power < 1 and seen.distance.max() > least


def test_a_small_eps_is_a_small_distance():
    """Adam's default ε = 1e-8."""
    seen = analysis.rescaling(Adam(0.002), valley, STEPS, 3.0)
    assert seen.power == 0 and 1e-13 < seen.distance.max() < 1e-8


def test_every_scale_is_served_by_one_program():
    traced = []

    def counted(x):
        traced.append(1)
        return jnp.sum(x**2)

    def look(scale):
        before = len(traced)
        analysis.rescaling(SGD(0.1), Problem(counted, [1.0, 2.0]), 3, scale)
        return len(traced) - before

    first, again, other = look(3.0), look(3.0), look(0.1)
    assert first > again == other == 4  # each time the probes of one problem in x and of three in z


def test_a_batch_of_scales_is_one_call():
    seen = eqx.filter_vmap(lambda scale: analysis.rescaling(SGD(0.01), valley, STEPS, scale))(
        jnp.array(SCALES)
    )
    assert seen.distance.shape == (3, STEPS + 1) and seen.distance.max() < 1e-12
    np.testing.assert_allclose(seen.factor, np.array(SCALES) ** 2, rtol=1e-15)


def test_single_precision_stays_single():
    single = Problem(
        valley.loss, {"a": np.array([1, -0.5], np.float32), "b": np.array(0.3, np.float32)}
    )
    seen = analysis.rescaling(SGD(0.01), single, STEPS, 3.0)
    assert (
        seen.distance.dtype == seen.corrected.y.x.dtype == jnp.float32
        and seen.distance.max() < 1e-5
    )


def test_pages_around_pages_are_made_anew_with_what_is_around_them():
    """Steps of a schedule stay steps, however fine; the time of an average goes with the clock."""
    optimizers = (
        Schedule(SGD(0.02), lambda k: 1 / (1 + k)).refine(2),
        Layerwise(SGD(0.01), {"a": 2.0}),
        Averaged(SGD(0.01), 0.05),
    )
    for optimizer in optimizers:
        seen = analysis.rescaling(optimizer, valley, STEPS, 3.0)
        assert seen.distance.max() < 1e-12 < seen.same_rate_distance.max()
        made_anew = (
            repr(optimizer).replace("0.01", "0.00111111111111").replace("0.05", "0.00555555555556")
        )
        assert repr(seen.corrected_optimizer) == made_anew


def test_a_modified_page_is_asked_for_its_own_map():
    seen = analysis.rescaling(Modified(SGD(0.01)), valley, STEPS, 3.0)
    assert repr(seen.optimizer) == "SGD(learning_rate=0.01)" and seen.distance.max() < 1e-12


def test_a_loss_over_data_keeps_its_parts():
    fit = Problem(lambda x, data: ((data - x) ** 2).mean(), 1.0, data=np.linspace(-1, 1, 12))
    seen = analysis.rescaling(Accumulated(SGD(0.1), 4), fit, 3, 3.0)
    assert seen.distance.max() < 1e-15
    with pytest.raises(InvalidValue, match="`k` is 5, which does not divide the 12 examples"):
        analysis.rescaling(Accumulated(SGD(0.1), 5), fit, 3, 3.0)


def test_a_run_that_leaves_is_an_error_or_a_result():
    """At λ = 10 the rate acts as a hundred times itself."""
    with pytest.raises(SolverFailure, match="diverged|left every bounded region"):
        analysis.rescaling(SGD(0.1), valley, STEPS, 10.0)
    seen = analysis.rescaling(SGD(0.1), valley, STEPS, 10.0, throw=False)
    assert seen.distance.max() < 1e-12 and np.isnan(seen.same_rate_distance).any()


def test_it_prints_both_distances():
    seen = analysis.rescaling(SGD(0.01), valley, STEPS, 0.5)
    most = f"{float(seen.same_rate_distance.max()):.3g}"
    said = (
        "Rescaling(SGD(learning_rate=0.01) on valley with x = 0.5 z, 0 apart with the rate / 0.25, "
    )
    assert repr(seen) == f"{said}{most} with the same)"


def test_what_cannot_be_rescaled_is_refused_in_one_sentence(as_users_see_it):
    with pytest.raises(InvalidValue, match="`scale` is 0; use a positive number"):
        analysis.rescaling(SGD(0.1), valley, STEPS, 0.0)
    with pytest.raises(InvalidType, match="`optimizer` must be a page"):
        analysis.rescaling("sgd", valley, STEPS, 3.0)  # pyright: ignore
    with pytest.raises(
        InvalidValue, match="is not made from a `learning_rate`; pass a page such as"
    ):
        analysis.rescaling(Memoryless(Momentum(0.1)), valley, STEPS, 3.0)
    with pytest.raises(
        InvalidValue,
        match=r"the first step of Schedule.* does not move.* a page that moves at once",
    ):
        analysis.rescaling(Schedule(SGD(0.01), lambda k: k / 10), valley, STEPS, 3.0)
