"""Every optimizer of the catalogue, by name, as the theorems ask for it."""

from dynopt.optimizers import catalogue

# Options under which the map is smooth and its first steps are as regular as the later ones.
SMOOTH_OPTIONS = {
    "rmsprop": {"bias_correction": True},
    "adagrad": {"initial_accumulator_value": 1e6},
    "signum": {"smoothing": 20.0},
    "lion": {"smoothing": 20.0},
    "muon": {"exact": True},
}


def default_optimizers(learning_rate, names=tuple(catalogue)):
    """Each optimizer with its default hyperparameters, by name."""
    return {name: catalogue[name](learning_rate) for name in names}


def smooth_optimizers(learning_rate, names=tuple(catalogue)):
    """Each optimizer with hyperparameters for which its map is smooth, by name."""
    return {name: catalogue[name](learning_rate, **SMOOTH_OPTIONS.get(name, {})) for name in names}
