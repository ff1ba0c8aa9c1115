"""Figures of random paths: their laws are drawn as they are, with what chance alone leads to."""

import dataclasses
from io import BytesIO
from statistics import NormalDist

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.figure import Figure
from overlaps import outside, overlapping
from scenes import (
    SPREAD,
    WEAK,
    artist,
    caption,
    heading,
    heads,
    hill,
    keys,
    legend_texts,
    make_ensemble,
    make_fan,
    make_gibbs,
    make_settled,
    make_stationary,
    make_weak_order,
    one_line,
    title,
)

from dynopt import SGD, Langevin, Momentum, Nesterov, Noisy, Problem, figures
from dynopt.errors import InvalidType, InvalidValue
from dynopt.figures.drawing import laws
from dynopt.figures.drawing.style import color_of
from dynopt.runs import Status
from dynopt.runs.setup import Kept

FRACTION = np.linspace(0, 1, 21)
LEVELS = {"5": -0.9, "25": -0.5, "50": 0.0, "75": 0.5, "95": 0.9}  # where they are in SPREAD


def band(ax, gid):
    """The lower and the upper edge of a band over the times."""
    path = artist(ax, gid).get_paths()[0].vertices
    at_times = [path[np.isclose(path[:, 0], 0.1 * k), 1] for k in range(21)]
    return np.array([[y.min(), y.max()] for y in at_times]).T


# --- ensemble


@pytest.mark.parametrize(("width", "enlarged"), [(0.01, True), (2.0, False)])
def test_laws_that_would_be_thin_lines_at_the_end_have_an_axis_of_their_own(width, enlarged):
    """Paths fall by 10: quantiles from 0.2 % of the end to 95 % of the start, over those of the end."""
    x = np.linspace(10, 0, 6) + width * np.linspace(0, 1, 21)[:, None]
    result = make_ensemble(Noisy(SGD(0.1), sigma=1.0), hill(), x[..., None])
    _, right = figures.ensemble.draw(result).axes
    low, high = right.get_ylim()
    assert (high - low < 1.3 * width) == enlarged
    (fact,) = [text for text in (one.get_text() for one in right.texts) if "t\xa0=" in text]
    ratio = f"axis enlarged ×\xa0{(10 + 0.948 * width) / (0.996 * width):.0f}"
    assert (ratio in fact) == ("axis" in fact) == enlarged
    assert right.yaxis.get_tick_params()["labelleft"] == enlarged


def test_bands_are_the_quantiles_of_the_flow_and_dots_those_of_the_map():
    results = [make_fan("map"), make_fan("flow", mean=0.8, deviation=0.3)]
    left, right = figures.ensemble.draw(results).axes
    for level, place in LEVELS.items():
        dots = artist(left, f"map {level}").get_xydata()
        k = np.round(dots[:, 0] / 0.1).astype(int)
        assert len(k) > 5 and k[-1] == 20
        np.testing.assert_allclose(
            dots[:, 1], 1 - 0.6 * FRACTION[k] + 0.5 * place * FRACTION[k], rtol=1e-12
        )
    mean = 0.8 * (1 - 0.6 * FRACTION)
    np.testing.assert_allclose(artist(left, "flow median").get_ydata(), mean, rtol=1e-12)
    for name, place in (("90", 0.9), ("50", 0.5)):
        edges = mean + 0.3 * place * FRACTION * np.array([[-1], [1]])
        np.testing.assert_allclose(band(left, f"flow {name}"), edges, rtol=1e-12)
    paths = [a.get_ydata() for a in left.lines if str(a.get_gid()).startswith("path")]
    np.testing.assert_allclose(paths[3], 1 - 0.6 * FRACTION + 0.5 * SPREAD[3] * FRACTION)
    assert left.get_ylim() == right.get_ylim()


def test_the_histograms_hold_all_paths_of_the_end():
    results = [make_fan("map"), make_fan("flow", mean=0.8, deviation=0.3)]
    right = figures.ensemble.draw(results).axes[1]
    for kind, mean, deviation in (("map", 0.4, 0.5), ("flow", 0.32, 0.3)):
        stairs = artist(right, f"histogram {kind}").get_data()
        widths = np.diff(stairs.edges)
        np.testing.assert_allclose((stairs.values * widths).sum(), 1)
        middles = (stairs.edges[1:] + stairs.edges[:-1]) / 2
        first = (stairs.values * widths * middles).sum()
        second = (stairs.values * widths * (middles - mean) ** 2).sum()
        assert abs(first - mean) < 0.02 and abs(np.sqrt(second) - 0.6055 * deviation) < 0.02
    assert (
        artist(right, "histogram map").get_fill() and not artist(right, "histogram flow").get_fill()
    )
    assert artist(right, "note map").get_text() == "map:"
    assert one_line(artist(right, "mean map").get_text()) == "mean 0.400 ± 0.068"


@pytest.mark.parametrize("seed", range(3))
def test_standard_errors_are_the_scatter_of_estimates_from_other_paths(seed):
    """Of a normal law: s/√n of the mean, s/√(2 n) of the deviation, s² √(2/n) of the variance."""
    values = np.random.default_rng(seed).normal(3.0, 2.0, 40000)
    for estimate, right, error in (
        (laws.mean_of(values), 3.0, 2 / 200),
        (laws.deviation_of(values), 2.0, 2 / 200 / np.sqrt(2)),
        (laws.variance_of(values), 4.0, 4 * np.sqrt(2) / 200),
    ):
        assert abs(estimate.value - right) < 4 * error
        assert abs(estimate.error / error - 1) < 0.03
    pairs = laws.variance_of(values.reshape(-1, 2))  # a sum over two independent coordinates
    assert (
        abs(pairs.value - 8) < 4 * pairs.error and abs(pairs.error / (8 / np.sqrt(2e4)) - 1) < 0.05
    )


@pytest.mark.parametrize(
    "mean, deviation, claim",
    [
        (
            1.01,
            0.51,
            "map and flow of Noisy(SGD) agree in x₁ within three standard errors, with the",
        ),
        (
            1.01,
            0.1,
            "the map of Noisy(SGD) spreads more in x₁ than its flow, with the standard deviation",
        ),
        (
            1.01,
            1.5,
            "the map of Noisy(SGD) spreads less in x₁ than its flow, with the standard deviation",
        ),
        (
            3.0,
            0.5,
            "the map of Noisy(SGD) has in x₁ the mean 0.400 ± 0.068, but its flow 1.200 ± 0.068",
        ),
    ],
)
def test_the_title_says_what_differs_by_more_than_three_standard_errors(mean, deviation, claim):
    results = [make_fan("flow", mean, deviation), make_fan()]
    sentence = figures.ensemble._claim(figures.ensemble._laws(results, 0), 0)
    assert one_line(sentence).startswith(f"At t = 2 {claim}")


def test_paths_that_failed_are_counted_and_left_out():
    picture = figures.ensemble.draw([make_fan(failed=3), make_fan("flow")])
    assert heading(picture).startswith("3 of 24 paths of the map failed; at t = 2 map and flow")
    assert "21 paths of the map and 21 paths of the flow" in caption(picture)
    with pytest.raises(InvalidValue, match="all but 0 of 21 paths .* take a smaller learning rate"):
        figures.ensemble.draw(eqx.tree_at(lambda e: e.result, make_fan(), jnp.ones(21, int)))


@pytest.mark.parametrize(
    "statuses, says",
    [
        ([Status.interrupted], "1 of 21 paths of the flow was interrupted"),
        ([Status.interrupted] * 2 + [Status.stalled], "2 of 21 paths of the flow were interrupted"),
        (
            [Status.nonfinite, Status.diverged, Status.interrupted],
            "2 of 21 paths of the flow failed and 1 of 21 paths of the flow was interrupted",
        ),
    ],
)
def test_paths_that_were_interrupted_have_not_failed(statuses, says):
    numbers = jnp.array([int(status) for status in statuses])
    fan = eqx.tree_at(
        lambda e: e.result, make_fan("flow"), replace_fn=lambda r: r.at[: len(numbers)].set(numbers)
    )
    assert laws.failed_paths(fan) == says


def test_one_kind_alone_is_drawn_alone():
    of_map, of_flow = (figures.ensemble.draw(make_fan(kind)) for kind in ("map", "flow"))
    assert heading(of_map).startswith(
        "At t = 2 the map of Noisy(SGD) has in x₁ the mean 0.400 ± 0.068"
    )
    assert keys(of_map) == ["map, its quantiles", "paths of the map"]
    assert keys(of_flow) == ["flow, its median", "50\xa0%", "90\xa0% of its paths"]
    assert not any("map" in str(a.get_gid()) for a in of_flow.axes[0].lines)


def test_a_loss_of_very_different_sizes_has_a_logarithmic_axis():
    fan = make_fan(deviation=0.0)
    values = np.exp(-5 * FRACTION) * (1 + 0.1 * SPREAD[:, None] * FRACTION)
    falling = dataclasses.replace(fan, x=jnp.array(np.sqrt(2 * values))[..., None])
    falling = dataclasses.replace(falling, loss=jnp.array(values))
    left, right = figures.ensemble.draw(falling, coordinate="loss").axes
    assert left.get_yscale() == right.get_yscale() == "log"
    dots = artist(left, "map 95").get_xydata()
    k = np.round(dots[:, 0] / 0.1).astype(int)
    np.testing.assert_allclose(dots[:, 1], np.exp(-5 * FRACTION[k]) * (1 + 0.09 * FRACTION[k]))
    stairs = artist(right, "histogram map").get_data()
    np.testing.assert_allclose((stairs.values * np.diff(np.log10(stairs.edges))).sum(), 1)
    assert left.get_ylabel() == "loss above minimum  f\xa0−\xa0f*"
    alt = figures.ensemble.describe(falling, "loss")
    assert "the law of the loss above the minimum of Noisy(SGD) on hill" in alt


def test_noise_leaves_an_optimizer_its_colour():
    assert color_of(Noisy(SGD(0.1), sigma=1.0)) == color_of(SGD(0.1))
    assert color_of(Langevin(Momentum(0.1), 1.0)) == color_of(Momentum(0.1))


def test_what_is_no_map_and_flow_of_one_optimizer_is_refused(as_users_see_it):
    one = make_fan()
    with pytest.raises(InvalidType, match="must come from dynopt.ensemble, got int"):
        figures.ensemble.draw(3)
    with pytest.raises(InvalidValue, match=r"holds the kinds map, map; pass one ensemble of a map"):
        figures.ensemble.draw([one, one])
    other = make_ensemble(Noisy(SGD(0.1), sigma=0.5), hill(), one.x, "flow")
    with pytest.raises(InvalidValue, match="pass map and flow of one optimizer over the same time"):
        figures.ensemble.draw([one, other])
    with pytest.raises(InvalidValue, match="map and flow of one optimizer over the same time"):
        figures.ensemble.draw([one, make_fan("flow", steps=10)])
    with pytest.raises(
        InvalidValue, match='there are only 1; pass a number from 0 to 0, or "loss"'
    ):
        figures.ensemble.draw(one, coordinate=1)
    assert figures.ensemble.draw(one, coordinate=0)


# --- langevin


def test_bars_are_the_positions_and_the_line_is_the_gibbs_density():
    ax = figures.langevin.draw(make_gibbs()).axes[0]
    x, density = artist(ax, "gibbs langevin(sgd)").get_data()
    right = NormalDist(0, 0.5)
    np.testing.assert_allclose(density, [right.pdf(one) for one in x], rtol=1e-6)
    bars = artist(ax, "bars langevin(sgd)").get_data()
    edges = right.inv_cdf(0.9995) * np.linspace(-1, 1, 41)
    np.testing.assert_allclose(bars.edges, edges, atol=1e-5)
    counts, _ = np.histogram(make_gibbs().x[:, -1, 0], edges)
    np.testing.assert_allclose(bars.values, counts / 40 / np.diff(edges), rtol=1e-4)


def test_the_distance_of_paths_that_are_shifted_is_that_of_the_shifted_law():
    """½ ∫|p(x) - p(x - s)| dx = 2 Φ(s/2σ) - 1; a histogram of quantiles adds next to nothing."""
    samples = figures.langevin._samples(
        [make_gibbs(paths=20000, shift=shift) for shift in (0, 0.2)]
    )
    assert samples[0].distance < 0.002
    assert abs(samples[1].distance - (2 * NormalDist().cdf(0.2) - 1)) < 0.003
    assert figures.langevin._samples(make_gibbs(shift=50.0))[0].distance > 0.99  # out of the frame


def test_as_many_exact_samples_have_the_distance_that_is_told():
    draw = np.random.default_rng(1)
    sample = figures.langevin._samples(make_gibbs(paths=200))[0]
    right = NormalDist(0, 0.5)
    shares = np.diff([0, *map(right.cdf, sample.edges), 1])
    counts = draw.multinomial(200, shares, 4000)
    distances = np.abs(counts / 200 - shares).sum(1) / 2
    assert abs(sample.exact - distances.mean()) < 4 * distances.std() / np.sqrt(4000)


def test_the_numbers_of_each_frame_stand_in_the_title():
    results = [make_gibbs(0.1), make_gibbs(0.2, shift=0.3)]
    picture = figures.langevin.draw(results)
    samples = figures.langevin._samples(results)
    numbers = [f"{s.distance:.2g}" for s in samples]
    assert heading(picture) == (
        f"The total variation distance to the Gibbs law is {numbers[0]} for Langevin(SGD) η = 0.1 "
        f"and {numbers[1]} for Langevin(SGD) η = 0.2; exact samples have {samples[0].exact:.2g}"
    )
    assert heads(picture) == ["Langevin(SGD) η = 0.1", "Langevin(SGD) η = 0.2"]
    notes = [t.get_text() for ax in picture.axes for t in ax.texts if t.get_fontweight() == "bold"]
    assert notes[0] == f"distance {numbers[0]}" and notes[1].startswith("exact samples 0.")
    assert "positions at the end" in keys(picture) and len(keys(picture)) == 3
    flow = figures.langevin.draw(make_gibbs(kind="flow"))
    assert "for the flow of Langevin(SGD)" in heading(flow)
    assert heads(figures.langevin.draw([make_gibbs(), make_gibbs(kind="flow")])) == [
        "Langevin(SGD)", "Flow of Langevin(SGD)"
    ]  # fmt: skip


def test_other_noise_other_spaces_and_laws_that_do_not_exist_are_refused(as_users_see_it):
    with pytest.raises(InvalidValue, match=r"run dynopt.Langevin\(dynopt.SGD\(0.01\)"):
        figures.langevin.draw(make_fan())
    langevin, x = Langevin(SGD(0.1), temperature=0.5), make_fan(dim=2).x
    with pytest.raises(InvalidValue, match="of one coordinate, got .* on hill with 2"):
        figures.langevin.draw(make_ensemble(langevin, hill(2), x))
    flat = Problem(lambda x: jnp.tanh(x).sum(), [0.0], name="flat")
    with pytest.raises(InvalidValue, match="exp.-f/T. of flat has no finite integral at T = 0.5"):
        figures.langevin.draw(make_ensemble(langevin, flat, x[..., :1]))
    cold = dataclasses.replace(make_gibbs(), setup=(Kept(Langevin(SGD(0.1), 0.0)), Kept(hill())))
    with pytest.raises(InvalidValue, match="at T = 0, .* take a positive temperature"):
        figures.langevin.draw(cold)


# --- stationary

RATES = np.array([0.1, 0.5, 1.0, 1.5])


def test_variances_are_those_of_the_laws_and_the_tie_joins_the_last_of_map_and_flow():
    laws = [make_stationary(rate) for rate in (*RATES[::-1], 2.1)]  # in any order
    ax = figures.stationary.draw(laws).axes[0]
    for name, right in (
        ("map", 2 * RATES / (2 - RATES)),
        ("flow", RATES),
        ("modified", RATES * (1 + RATES / 2)),
    ):
        line = artist(ax, f"{name} noisy(sgd)").get_xydata()
        np.testing.assert_allclose(line[:4], np.stack([RATES, right], 1), rtol=1e-12)
    assert np.isnan(artist(ax, "map noisy(sgd)").get_ydata()[4])
    tie = artist(ax, "tie noisy(sgd)").get_xydata()
    np.testing.assert_allclose(tie, [[1.5, 1.5], [1.5, 6.0]])
    assert artist(ax, "ratio noisy(sgd)").get_text() == "× 4"
    assert ax.get_xscale() == ax.get_yscale() == "log"
    close = figures.stationary.draw([make_stationary(rate) for rate in (0.5, 1.0)]).axes[0]
    assert close.get_xscale() == close.get_yscale() == "linear" and close.get_ylim()[0] < 0


def test_simulated_variances_have_bars_of_two_standard_errors():
    """|x|² is 2 d² · 1.44 or 2 d² · 0.56 on half of the paths each, and the mean is 0."""
    deviation, rate = np.sqrt(0.5 / 1.5), 0.5
    runs = [make_settled(rate, deviation), make_settled(1.0, 1.2)]
    picture = figures.stationary.draw([make_stationary(rate) for rate in RATES], runs)
    ax = picture.axes[0]
    variance = 2 * deviation**2 * 200 / 199
    np.testing.assert_allclose(
        artist(ax, "simulated 0 noisy(sgd)").get_xydata(), [[rate, variance]], rtol=1e-3
    )
    half = 2 * 2 * deviation**2 * 0.44 / np.sqrt(200)
    bar = artist(ax, "errors 0 noisy(sgd)").get_ydata()
    np.testing.assert_allclose(bar, [variance - half, variance + half], rtol=5e-3)
    assert "1 of 2 simulations lies within two standard errors of the exact" in caption(picture)
    assert "one that is farther off may be too short to have forgotten" in caption(picture)
    assert "too short" not in figures.stationary.describe(make_stationary(rate), runs[0])
    elsewhere = figures.stationary.describe(make_stationary(0.5), make_settled(0.7, 1.0))
    assert "simulation" not in elsewhere


def test_a_map_without_flows_has_its_variance_in_the_title():
    laws = [make_stationary(rate, flows=False) for rate in (0.5, 1.0)]
    picture = figures.stationary.draw(laws)
    assert title(picture) == "At η = 1 the stationary variance of Noisy(SGD) is 2"
    assert legend_texts(picture.axes[0]) == ["map, exact"]


def test_temperatures_that_differ_by_round_off_are_one():
    langevins = [Langevin(Momentum(rate), temperature=0.5) for rate in (0.025, 0.075, 0.1)]
    assert len({one.hyperparameters()["temperature"] for one in langevins}) > 1
    laws = [dataclasses.replace(make_stationary(one.h**2), optimizer=one) for one in langevins]
    assert "over 3 learning rates" in figures.stationary.describe(laws)


def test_results_that_have_no_common_curve_are_refused(as_users_see_it):
    law = make_stationary(0.5)
    with pytest.raises(InvalidValue, match="empty; pass one or more results of analysis.station"):
        figures.stationary.draw([])
    with pytest.raises(InvalidType, match="must come from analysis.stationary, got int"):
        figures.stationary.draw(3)
    with pytest.raises(InvalidType, match="must come from dynopt.ensemble, got int"):
        figures.stationary.draw(law, 3)
    with pytest.raises(InvalidValue, match=r'ensembles of the map, dynopt.ensemble\(..., of="map"'):
        figures.stationary.draw(law, make_fan("flow", dim=2))
    with pytest.raises(InvalidValue, match=r"more than the learning rate: Noisy\(SGD\) with sigma"):
        figures.stationary.draw(law, make_fan(dim=2))
    with pytest.raises(InvalidValue, match="no stationary law on hill at any of the learning rate"):
        figures.stationary.draw(make_stationary(2.5))


# --- weak_order

STEPS = 2.0 ** np.arange(5)


def test_weak_errors_stand_over_the_time_steps_on_lines_of_the_declared_orders():
    ax = figures.weak_order.draw(WEAK).axes[1]
    for kind, factor, power in (("flow", 0.09, 1), ("modified", 0.012, 2), ("noiseless", 0.3, 0)):
        x, error = artist(ax, f"{kind} noisy(momentum)").get_data()
        np.testing.assert_array_equal(x, STEPS)
        right = factor / STEPS**power
        np.testing.assert_allclose(error, right * np.where(STEPS < 2, 1.2, 1.0))
        if power:
            line = artist(ax, f"declared {kind} noisy(momentum)")
            np.testing.assert_allclose(line.get_ydata(), right)  # through the finest, not fitted
            ratio = artist(ax, f"ratio {kind} noisy(momentum)").get_text()
            assert ratio == f"÷ {2**power}.00 per halving"
    assert [tick.get_text() for tick in ax.get_xticklabels()][0] == "h"


def test_errors_that_are_not_told_from_0_are_upper_limits_and_ratios_have_errors():
    """σ/ε is 0.003/0.25² = 0.048 at h/4, 0.192 at h/8, and more than 1/2 at h/16 alone."""
    order = make_weak_order(Noisy(SGD(0.1), sigma=0.5), paths=1000)
    picture = figures.weak_order.draw(order)
    ax = picture.axes[0]
    x, error = artist(ax, "modified noisy(sgd)").get_data()
    np.testing.assert_array_equal(x, STEPS[:4])
    limit = artist(ax, "limit modified noisy(sgd)").get_xydata()
    np.testing.assert_allclose(limit, [[16, 0.004 / 256 + 2 * 0.004 * 0.003]])
    bar = artist(ax, "bar 3 modified noisy(sgd)").get_ydata()
    np.testing.assert_allclose(bar, 0.004 / 64 + 2 * 0.004 * 0.003 * np.array([-1, 1]))
    assert not len(artist(ax, "limit flow noisy(sgd)").get_xdata())
    ratio = one_line(artist(ax, "ratio modified noisy(sgd)").get_text())
    error = 4 * np.hypot(0.003 * 16, 0.003 * 64)
    assert ratio == f"÷ 4.00 ± {error:.2f} per halving"
    assert "upper limit" in keys(picture) and "at most 4×10⁻⁵ at h/16" in picture.alt
    assert (
        caption(picture)
        == "On hill at t = 2, by 1000 paths. Bars are two standard errors on each side."
    )


def test_errors_of_which_none_is_resolved_have_no_order(as_users_see_it):
    order = make_weak_order(Noisy(SGD(0.1), sigma=0.5), paths=1000)
    weak = [
        dataclasses.replace(error, stderr=error.error)
        for error in (order.flow, order.modified, order.noiseless)
    ]
    nothing = dataclasses.replace(order, flow=weak[0], modified=weak[1], noiseless=weak[2])
    picture = figures.weak_order.draw(nothing)
    assert heading(picture) == "No weak order of Noisy(SGD) is resolved"
    assert artist(picture.axes[0], "notice").get_text() == "no weak error is told from 0"
    alone = dataclasses.replace(order, modified=None, noiseless=None)
    assert "against its modified flow" not in figures.weak_order.describe(alone)
    with pytest.raises(InvalidType, match="must come from analysis.weak_order, got int"):
        figures.weak_order.draw(3)


@pytest.mark.parametrize(
    ("style", "ratio"), [("notebook", "÷ 2.00 per halving"), ("slides", "÷ 2.00")]
)
def test_labels_of_weak_errors_are_shorter_where_the_frames_are_narrow(style, ratio):
    picture = figures.weak_order.draw(
        [*WEAK, make_weak_order(Noisy(Nesterov(0.01), 1.0))], style=style
    )
    picture.savefig(BytesIO())
    for ax in picture.axes:
        labels = [text for text in ax.texts if str(text.get_gid()).startswith(("name", "ratio"))]
        assert ratio in [text.get_text() for text in labels] and len(labels) == 6
        right = max(text.get_window_extent().x1 for text in labels)
        assert right <= ax.get_window_extent().x1 + 1


# --- all of them

DRAWN = {
    "weak_order": WEAK,
    "stationary": [make_stationary(rate) for rate in RATES],
    "ensemble": [make_fan(), make_fan("flow", 0.8, 0.3)],
    "langevin": [make_gibbs(0.1), make_gibbs(0.2, shift=0.3)],
}


@pytest.mark.parametrize("name", DRAWN)
def test_no_word_covers_another_or_leaves_a_slide(name):
    """Slides are the tightest of the styles."""
    picture = getattr(figures, name).draw(DRAWN[name], style="slides")
    picture.savefig(BytesIO())
    assert overlapping(picture) == [] and outside(picture) == []
    assert picture.alt == getattr(figures, name).describe(DRAWN[name])
    assert caption(picture).endswith(".")


@pytest.mark.parametrize("name", DRAWN)
def test_axes_of_the_user_are_drawn_into(name):
    ax = Figure().subplots()
    module = getattr(figures, name)
    assert module.draw(DRAWN[name][:1], ax=ax, title="Mine") is ax and title(ax) == "Mine"
    assert ax.has_data()
    picture = module.draw(DRAWN[name], title="Mine")
    assert (heading(picture) or title(picture)) == "Mine"


def test_a_law_over_time_stands_in_panels():
    picture = figures.panels.draw([(figures.ensemble, DRAWN["ensemble"])])
    assert title(picture).startswith("At t = 2 the map") and "flow, its median" in keys(picture)
