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

import lazy_loader

__version__ = "0.1.0"

# The names at the front door are listed once, in `__init__.pyi`. A module opens when its first name is asked for, so
# that `python -m dynopt.compare --help` need not wait for JAX.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
