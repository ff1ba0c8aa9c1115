"""Results to draw: made by hand, and one by `analysis`."""

import pytest
from scenes import (
    PAGES,
    SCENES,
    STEPS,
    made_energies,
    made_gap,
    made_local_error,
    made_order,
    scene,
)

from dynopt import SGD, Momentum, Status
from dynopt.analysis import Energy, Gap, LocalError, Order, gap


@pytest.fixture(scope="session")
def gaps() -> dict[str, list[Gap]]:
    """All pages on all scenes."""
    return {name: [made_gap(page, scene(name)) for page in PAGES] for name in SCENES}


@pytest.fixture(scope="session")
def local_errors(gaps) -> dict[str, list[LocalError]]:
    return {name: [made_local_error(gap) for gap in made] for name, made in gaps.items()}


@pytest.fixture(scope="session")
def energies(gaps) -> dict[str, list[Energy]]:
    return {
        name: [energy for gap in made for energy in made_energies(gap)]
        for name, made in gaps.items()
    }


@pytest.fixture(scope="session")
def orders() -> dict[str, list[Order]]:
    slopes = {"SGD": 1.0, "Momentum": 1.01, "RMSprop": 0.5, "Adam": 0.99}
    return {
        name: [
            made_order(p, scene(name), slopes[type(p).__name__], s)
            for p, s in zip(PAGES, (3, 1, 0.5, 0.1), strict=True)
        ]
        for name in SCENES
    }


@pytest.fixture(scope="session")
def diverged() -> Gap:
    """Gradient descent with a learning rate beyond 2/λ = 0.2; its flow does nothing of the sort."""
    gap = made_gap(SGD(0.4), scene("bowl"))
    assert gap.map.status == Status.diverged and gap.flow.status == Status.ok
    return gap


@pytest.fixture(scope="session")
def true_gap() -> Gap:
    return gap(Momentum(0.01), scene("bowl"), STEPS)
