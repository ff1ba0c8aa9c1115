"""dynopt: an optimizer is a map and a flow on the same phase space; the flow is the limit of the map.

| letter | code                  | is                                                    | shape, unit |
|--------|-----------------------|-------------------------------------------------------|-------------|
| x      | `x`                   | position: the parameters                              | `(dim,)`    |
| f, ∇f  | `loss`, `grad`        | the objective and its gradient                        | scalar, like x |
| g      | `g`                   | gradient here and now                                 | like x      |
| y      | `y`                   | point of phase space: x first, then the memory        | NamedTuple  |
| p      | `p`                   | velocity of the heavy ball                            | like x      |
| m, v   | `m`, `v`              | running mean of g, of g²                              | like x      |
| k      | `k`                   | step number                                           | int         |
| h      | `h`                   | time that one step takes                              | time        |
| t      | `t`                   | time, t = k h                                         | time        |
| τ      | `tau`, `tau1`, `tau2` | memory time of an average, τ = h/(1-β)                | time        |
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import (
        analysis as analysis,
        course as course,
        derivations as derivations,
        figures as figures,
        optimizers as optimizers,
        problems as problems,
    )
    from .derivations import Memoryless as Memoryless, Modified as Modified, Optax as Optax
    from .errors import DynoptError as DynoptError, SolverFailure as SolverFailure
    from .optimizers import (
        SGD as SGD,
        Accumulated as Accumulated,
        AdaBelief as AdaBelief,
        AdaGrad as AdaGrad,
        Adam as Adam,
        AdamW as AdamW,
        Averaged as Averaged,
        Layerwise as Layerwise,
        Lion as Lion,
        Momentum as Momentum,
        Muon as Muon,
        NAdam as NAdam,
        Nesterov as Nesterov,
        NesterovConvex as NesterovConvex,
        RMSprop as RMSprop,
        Schedule as Schedule,
        ScheduleFree as ScheduleFree,
        Signum as Signum,
        WithGradient as WithGradient,
    )
    from .problems import Problem as Problem
    from .sweeps import Sweep as Sweep, sweep as sweep
    from .trajectories import Status as Status, Trajectory as Trajectory, integrate as integrate, iterate as iterate

__version__ = "0.1.0"

# Rooms open when first entered, so that `python -m dynopt.compare --help` need not wait for JAX.
_rooms = {
    "problems": None, "optimizers": None, "derivations": None, "analysis": None, "figures": None,
    "course": None,
    "SGD": "optimizers", "Momentum": "optimizers", "Nesterov": "optimizers", "NesterovConvex": "optimizers",
    "AdaGrad": "optimizers", "RMSprop": "optimizers", "Adam": "optimizers", "AdamW": "optimizers",
    "NAdam": "optimizers", "AdaBelief": "optimizers", "Signum": "optimizers", "Lion": "optimizers",
    "Muon": "optimizers", "ScheduleFree": "optimizers",
    "Schedule": "optimizers", "Averaged": "optimizers", "Layerwise": "optimizers", "WithGradient": "optimizers",
    "Accumulated": "optimizers",
    "Problem": "problems", "Optax": "derivations", "Modified": "derivations", "Memoryless": "derivations",
    "iterate": "trajectories", "integrate": "trajectories", "Trajectory": "trajectories", "Status": "trajectories",
    "sweep": "sweeps", "Sweep": "sweeps",
    "DynoptError": "errors", "SolverFailure": "errors",
}  # fmt: skip
__all__ = list(_rooms)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _rooms:
        raise AttributeError(f"module 'dynopt' has no attribute {name!r}")
    room = importlib.import_module(f".{_rooms[name] or name}", __name__)
    value = room if _rooms[name] is None else getattr(room, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_rooms})
