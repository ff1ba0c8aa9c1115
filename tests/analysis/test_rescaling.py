"""In units λ times as large a learning rate acts like λ² times itself, or λ times, as steps depend on gradients."""

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
        result = analysis.rescaling(make(0.002), valley, STEPS, scale)
        assert result.power == power - 1 and result.factor == pytest.approx(scale**power, rel=1e-15)
        faster = analysis.rescaling(make(0.002 * scale**power), valley, STEPS, scale).map
        np.testing.assert_allclose(result.same_rate.y.x, faster.y.x, rtol=0, atol=1e-12)
        assert result.corrected_optimizer.h == pytest.approx(
            make(0.002 / scale**power).h, rel=1e-15
        )
        assert result.distance.max() < 1e-12 < 1e-4 < result.same_rate_distance.max()


def test_the_distances_are_those_of_the_runs_in_x():
    result = analysis.rescaling(SGD(0.01), valley, STEPS, 3.0)
    for run, distance in (
        (result.corrected, result.distance),
        (result.same_rate, result.same_rate_distance),
    ):
        np.testing.assert_array_equal(distance, jnp.linalg.norm(run.y.x - result.map.y.x, axis=-1))
        np.testing.assert_allclose(run.x["a"][0], valley.x0["a"], rtol=1e-15)
        np.testing.assert_allclose(run.loss[0], result.map.loss[0], rtol=1e-15)
    assert result.corrected.t[-1] == pytest.approx(STEPS * 0.01 / 9)


def test_a_power_of_two_is_corrected_bit_by_bit():
    for scale in (0.25, 4.0):
        assert (analysis.rescaling(SGD(0.01), valley, STEPS, scale).distance == 0).all()


def test_with_a_constant_under_the_root_no_learning_rate_corrects_the_scale():
    """The negative control: Adam with ε = 1, and AdaGrad from a sum that is not 0."""
    for optimizer, smallest in (
        (Adam(0.05, eps=1.0), 1e-3),
        (AdaGrad(0.5, initial_accumulator_value=10.0), 1e-3),
    ):
        result = analysis.rescaling(optimizer, valley, STEPS, 3.0)
        assert 0 < result.power < 1 and result.distance.max() > smallest


def test_a_small_eps_is_a_small_distance():
    """Adam's default ε = 1e-8."""
    result = analysis.rescaling(Adam(0.002), valley, STEPS, 3.0)
    assert result.power == 0 and 1e-13 < result.distance.max() < 1e-8


def test_one_compilation_serves_every_scale():
    traced = []

    def counted(x):
        traced.append(1)
        return jnp.sum(x**2)

    def traces(scale):
        before = len(traced)
        analysis.rescaling(SGD(0.1), Problem(counted, [1.0, 2.0]), 3, scale)
        return len(traced) - before

    first, again, other = traces(3.0), traces(3.0), traces(0.1)
    # each time one problem in x and three in z are made, and each of them traces its loss twice
    assert first > again == other == 2 * 4


def test_a_batch_of_scales_is_one_call():
    result = eqx.filter_vmap(lambda scale: analysis.rescaling(SGD(0.01), valley, STEPS, scale))(
        jnp.array(SCALES)
    )
    assert result.distance.shape == (3, STEPS + 1) and result.distance.max() < 1e-12
    np.testing.assert_allclose(result.factor, np.array(SCALES) ** 2, rtol=1e-15)


def test_single_precision_stays_single():
    single = Problem(
        valley.loss, {"a": np.array([1, -0.5], np.float32), "b": np.array(0.3, np.float32)}
    )
    result = analysis.rescaling(SGD(0.01), single, STEPS, 3.0)
    assert (
        result.distance.dtype == result.corrected.y.x.dtype == jnp.float32
        and result.distance.max() < 1e-5
    )


def test_wrappers_are_made_again_around_the_corrected_optimizer():
    """Steps of a schedule stay steps, however fine; the time of an average scales with the time step."""
    optimizers = (
        Schedule(SGD(0.02), lambda k: 1 / (1 + k)).refine(2),
        Layerwise(SGD(0.01), {"a": 2.0}),
        Averaged(SGD(0.01), 0.05),
    )
    for optimizer in optimizers:
        result = analysis.rescaling(optimizer, valley, STEPS, 3.0)
        assert result.distance.max() < 1e-12 < result.same_rate_distance.max()
        corrected = (
            repr(optimizer).replace("0.01", "0.00111111111111").replace("0.05", "0.00555555555556")
        )
        assert repr(result.corrected_optimizer) == corrected


def test_of_a_modified_optimizer_the_inner_one_is_rescaled():
    result = analysis.rescaling(Modified(SGD(0.01)), valley, STEPS, 3.0)
    assert repr(result.optimizer) == "SGD(learning_rate=0.01)" and result.distance.max() < 1e-12


def test_a_loss_over_data_keeps_its_parts():
    fit = Problem(lambda x, data: ((data - x) ** 2).mean(), 1.0, data=np.linspace(-1, 1, 12))
    result = analysis.rescaling(Accumulated(SGD(0.1), 4), fit, 3, 3.0)
    assert result.distance.max() < 1e-15
    with pytest.raises(InvalidValue, match="`k` is 5, which does not divide the 12 examples"):
        analysis.rescaling(Accumulated(SGD(0.1), 5), fit, 3, 3.0)


def test_a_run_that_diverges_is_an_error_or_a_result():
    """At λ = 10 the learning rate acts like a hundred times itself."""
    with pytest.raises(SolverFailure, match="diverged"):
        analysis.rescaling(SGD(0.1), valley, STEPS, 10.0)
    result = analysis.rescaling(SGD(0.1), valley, STEPS, 10.0, throw=False)
    assert result.distance.max() < 1e-12 and np.isnan(result.same_rate_distance).any()


def test_it_prints_both_distances():
    result = analysis.rescaling(SGD(0.01), valley, STEPS, 0.5)
    largest = f"{float(result.same_rate_distance.max()):.3g}"
    text = (
        "Rescaling(SGD(learning_rate=0.01) on valley with x = 0.5 z, "
        "distance 0 with the learning rate / 0.25, "
    )
    assert repr(result) == f"{text}{largest} with the same)"


def test_what_cannot_be_rescaled_is_refused_in_one_sentence(as_users_see_it):
    with pytest.raises(InvalidValue, match="`scale` is 0; use a positive number"):
        analysis.rescaling(SGD(0.1), valley, STEPS, 0.0)
    for scale in (1e-200, 1e200):
        with pytest.raises(
            InvalidValue, match="`scale` is 1e.*/1e.*\\^2 cannot be computed in .*; use a `scale` n"
        ):
            analysis.rescaling(SGD(0.1), valley, STEPS, scale, throw=False)
    with pytest.raises(InvalidType, match="`optimizer` must be an optimizer"):
        analysis.rescaling("sgd", valley, STEPS, 3.0)  # pyright: ignore
    with pytest.raises(
        InvalidValue, match="is not made from a `learning_rate`; pass an optimizer such as"
    ):
        analysis.rescaling(Memoryless(Momentum(0.1)), valley, STEPS, 3.0)
    with pytest.raises(
        InvalidValue,
        match=r"the first step of Schedule.* does not move.* an optimizer that moves at once",
    ):
        analysis.rescaling(Schedule(SGD(0.01), lambda k: k / 10), valley, STEPS, 3.0)
