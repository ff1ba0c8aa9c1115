"""What the README and the pages in docs/ say is so."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import dynopt
from dynopt import analysis
from dynopt.compare import gallery
from dynopt.optimizers import catalogue
from dynopt.optimizers.equations import equations

ROOT = Path(dynopt.__file__).parent.parent
README = (ROOT / "README.md").read_text()
DOCS = {file.stem: file.read_text() for file in (ROOT / "docs").glob("*.md")}


def test_the_table_shows_every_optimizer_in_order_with_map_flow_and_time_step():
    """The measured orders are held by tests/analysis/test_order.py."""
    row = r"^\| `(\w+)` \| (h?[^|]+) \| ([^|]+) \| ([^|]+) \| [\d.]+ \|$"
    rows = re.findall(row, DOCS["optimizers"], re.M)
    assert rows == [(cls.__name__, *equations(cls).values()) for cls in catalogue.values()]


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run code as a script in an empty folder; what it prints."""
    monkeypatch.chdir(tmp_path)

    def run(code):
        exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})
        return capsys.readouterr().out

    return run


def codes(text: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", text, re.S)


ten, five = codes(README)
(wrapped,), (swept,) = codes(DOCS["optimizers"]), codes(DOCS["sweeps"])


def test_the_ten_lines_run_as_written(run, tmp_path):
    assert len([line for line in ten.splitlines() if line.strip()]) <= 10
    assert run(ten).count("Order(") == 3 and (tmp_path / "paths.png").stat().st_size > 10_000


def test_halving_the_time_step_in_the_explorer_of_the_gallery_does_to_adam_what_is_told():
    (study,) = [one for one in gallery.STUDIES if one["figures"] == ("explorer",)]
    adam, problem = dynopt.Adam(**study["set"]["adam"]), dynopt.problems.himmelblau()
    coarse = analysis.compare(adam, problem, study["steps"]).largest
    fine = analysis.compare(adam.refine(2), problem, 2 * study["steps"]).largest
    assert f"Adam falls from {coarse:.2f} to {fine:.2f}." in README


def test_wrappers_run_as_written(run, tmp_path):
    run(wrapped + "assert repr(parts).startswith('Accumulated(Adam(')")
    assert (tmp_path / "network.png").stat().st_size > 10_000


def test_sweeps_run_as_written(run, tmp_path):
    assert run(swept).startswith("Sweep(Momentum on himmelblau, 1000 runs of 500 steps: ")
    assert {file.name for file in tmp_path.glob("*.png")} == {"basins.png", "stability.png"}


def test_five_lines_measure_the_flow_of_ones_own_optimizer_and_its_modified_flow(run):
    assert len([line for line in five.splitlines() if line.strip()]) == 5
    first, second = re.findall(r"Order\(([\d.]+) ± [\d.]+, expected (\d)", run(five))
    assert float(first[0]) == pytest.approx(1, abs=0.02) and first[1] == "1"
    assert float(second[0]) == pytest.approx(2, abs=0.05) and second[1] == "2"


def test_games_run_as_written(run, tmp_path):
    *spectra, line, held = run("\n".join(codes(DOCS["games"]))).splitlines()
    ends = ["unstable at every learning rate)", "rate 2)", "rate 1)"]
    assert [text.endswith(end) for text, end in zip(spectra, ends, strict=True)] == [True] * 3
    orders = [float(number) for number in f"{line} {held}".split()]
    assert orders == pytest.approx([2, 2, 2, 2], abs=0.05) and len(orders) == 4
    assert (tmp_path / "field.png").stat().st_size > 10_000


def test_workloads_run_as_written(run, tmp_path):
    robust, retrieved = run("\n".join(codes(DOCS["workloads"]))).splitlines()
    assert re.search(r"Robustness\(of Adam.* on digits_network_spectral, accuracy 0\.[89]", robust)
    accuracy = re.search(r"accuracy ([\d.]+) on unseen intents", retrieved)
    assert 0.5 < float(accuracy[1]) <= 1
    assert (tmp_path / "half_times.png").stat().st_size > 10_000


def test_noise_runs_as_written(run, tmp_path):
    printed = run("\n".join(codes(DOCS["noise"]))).splitlines()
    (sampled, *exact, long_run), errors = printed[:5], printed[5:]
    square, error = map(float, re.search(r"([\d.]+) ± ([\d.]+), by 2000 paths", sampled).groups())
    c = 0.1 / 2 * 1.05  # of the modified flow, dx = -1.05 x dt + √0.1 1.05 dW
    squares = {
        "map": 0.81**60 + 0.01 * (1 - 0.81**60) / 0.19,
        "flow": np.exp(-12) + 0.05 * (1 - np.exp(-12)),
        "modified flow": np.exp(-12.6) + c * (1 - np.exp(-12.6)),
    }
    assert abs(square - squares["map"]) < 4 * error and 0.0013 < error < 0.0021  # v √(2/2000)
    assert exact == [f"{name}: {value:.6f}" for name, value in squares.items()]
    assert "0.513514 of the map, 0.5 of the flow" in long_run
    flow, noiseless = (float(re.search(r"order ([-\d.]+)\)", row)[1]) for row in errors[1:])
    assert abs(flow - 1) < 0.01 and noiseless < 0 and len(errors) == 3
    assert (tmp_path / "weak_order.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("name", "step", "noise", "flow"),
    [
        ("SGD", [[0.9]], [-0.1], 0.1 / 2),
        ("Momentum", [[0.9, -0.09], [1, 0.9]], [-0.1, 1], 0.1 / (2 * 0.1)),
        ("Nesterov", [[1 - 0.19, -0.081], [1, 0.9]], [-0.19, 1], 0.1 / (2 * 0.1)),
    ],
)
def test_the_table_of_noise_shows_the_variance_in_the_long_run(name, step, noise, flow):
    """Of z = (x, m) with m ← 0.9 m + g, x ← x - 0.1 m, or x - 0.1 (g + 0.9 m), and g = x + ξ."""
    row = re.search(rf"^\| `{name}\(0.1\)` \| ([\d.]+) \| ([\d.]+) \|$", DOCS["noise"], re.M)
    step, noise = np.array(step), np.array(noise)
    powers = (np.linalg.matrix_power(step, k) @ noise for k in range(1000))
    assert f"{sum(z[0] ** 2 for z in powers):.5f}" == f"{float(row[1]):.5f}"
    assert float(row[2]) == pytest.approx(flow)


@pytest.mark.parametrize("kind", ["gan", "nsgan", "wgan", "r1"])
def test_the_table_of_games_shows_eigenvalues_and_the_largest_stable_rates(kind):
    (eigenvalue, *rates) = re.search(
        rf"^\| `{kind}` \| (.*) \| (.*) \| (.*) \| (.*) \|$", DOCS["games"], re.M
    ).groups()
    game = dynopt.problems.dirac_gan(kind, **({"gamma": 0.1} if kind == "r1" else {}))
    rest = {"theta": jnp.zeros(()), "psi": jnp.zeros(())}
    jacobian = jax.jacfwd(game.field)(rest)
    J = np.array([[float(jacobian[p][q]) for q in game.players] for p in game.players])
    real, imaginary = re.fullmatch(r"(-[\d.]+ )?± ([\d.]+)i", eigenvalue).groups()
    upper = max(np.linalg.eigvals(-J), key=lambda value: value.imag)
    assert upper.real == pytest.approx(float(real or 0), abs=5e-4)
    assert upper.imag == pytest.approx(float(imaginary), abs=5e-4)

    first, second = np.diag([1.0, 0.0]), np.diag([0.0, 1.0])
    maps = {
        "simultaneous": lambda h: np.eye(2) - h * J,
        "alternating": lambda h: (np.eye(2) - h * second @ J) @ (np.eye(2) - h * first @ J),
        "extragradient": lambda h: np.eye(2) - h * J @ (np.eye(2) - h * J),
    }
    for matrix, rate in zip(maps.values(), map(float, rates), strict=True):
        radii = [abs(np.linalg.eigvals(matrix(h))).max() for h in (0.999 * rate, 1.001 * rate)]
        if rate:
            assert radii[0] <= 1 + 1e-12 < radii[1]
        else:
            assert abs(np.linalg.eigvals(matrix(1e-3))).max() > 1


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("`sgd`", optax.sgd),
        ("`sgd`, momentum 0.9", lambda h: optax.sgd(h, momentum=0.9)),
        ("`sgd`, momentum 0.9, nesterov", lambda h: optax.sgd(h, momentum=0.9, nesterov=True)),
        ("`rmsprop`", optax.rmsprop),
        ("`adam`", optax.adam),
        ("`nadam`", optax.nadam),
    ],
)
def test_the_table_shows_the_critical_curvature_that_is_found(name, family):
    found = analysis.critical_curvature(dynopt.Optax(family, 0.01)) * 0.01
    assert f"| {name} | {found:.3f} |" in DOCS["own-optimizer"]


def test_every_link_and_picture_within_the_project_leads_somewhere():
    for folder, text in ((ROOT, README), *((ROOT / "docs", text) for text in DOCS.values())):
        for target in re.findall(r"\]\((?!https?://)([^)]+)\)", text):
            path, _, heading = target.partition("#")
            assert (folder / path).is_file(), target
            titles = re.findall(r"^#+ (.*)$", (folder / path).read_text(), re.M) if heading else []
            assert not heading or heading in [t.lower().replace(" ", "-") for t in titles]


def test_every_name_in_the_table_of_wishes_exists():
    table = README[README.index("| I want to | use |") :]
    names = re.findall(r"`((?:dynopt|figures|analysis|problems)\.[\w.]+)`", table)
    assert len(names) > 15
    for name in names:
        found = dynopt
        for part in name.removeprefix("dynopt.").split("."):
            found = getattr(found, part)
