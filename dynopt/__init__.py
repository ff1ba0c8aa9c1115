"""dynopt: an optimizer is a map and a flow on one phase space; the flow is the limit of the map.

The map takes one step of the time h after another. The flow is the solution of a differential
equation, dy/dt = vector_field(t, y). As h goes to 0, the map converges to the flow over every fixed
time.

The letters:

| letter | in code               | meaning                                    | shape, unit    |
|--------|-----------------------|--------------------------------------------|----------------|
| x      | `x`                   | position: the parameters to optimize       | `(dim,)`       |
| f, ∇f  | `loss`, `grad`        | the loss (objective) and its gradient      | scalar, like x |
| g      | `g`                   | gradient at the current position           | like x         |
| y      | `y`                   | a point of phase space: x, then the memory | NamedTuple     |
| p      | `p`                   | velocity of the heavy ball                 | like x         |
| m, v   | `m`, `v`              | running mean of g, and of g²               | like x         |
| k      | `k`                   | number of the step                         | int            |
| h      | `h`                   | time step: the time of one step of the map | time           |
| t      | `t`                   | time, t = k h                              | time           |
| τ      | `tau`, `tau1`, `tau2` | memory time of a mean, τ = h/(1-β)         | time           |

The terms, and what textbooks call them:

| here                      | in textbooks                                                         |
|---------------------------|----------------------------------------------------------------------|
| map, `step`               | one-step method, numerical integrator; the update rule               |
| `vector_field`            | right-hand side of the differential equation dy/dt = F(t, y)         |
| flow, `integrate`         | solution of the differential equation; its flow map                  |
| time step h               | step size of the integrator (for SGD it is the learning rate)        |
| error, `analysis.compare` | global error: distance of numerical and exact solution at equal time |
| `analysis.local_error`    | local truncation error: the error of one single step                 |
| order, `analysis.order`   | order of convergence: the p in error = O(h^p)                        |
| refinement, `refine(n)`   | the same flow with the time step h/n                                 |
| `Modified`                | modified equation of backward error analysis                         |
| `Memoryless`              | reduction to the slow manifold; adiabatic elimination of the memory  |
| `lyapunov`                | Lyapunov function; a conserved quantity where it stays constant      |
| initial layer             | initial (boundary) layer of a singularly perturbed system            |
| memory time τ             | time constant, relaxation time                                       |
| wrapper                   | an optimizer made from an optimizer; a transformation in optax       |
| sweep                     | many runs with other starts or hyperparameters                       |
| ensemble                  | many independent paths of one noisy optimizer                        |
| temperature h S Sᵀ        | covariance of the noise per time; S Sᵀ is that of one gradient       |
| refinement with noise     | variance amplification: h/n, and n times the covariance              |
| sharpness                 | largest eigenvalue of the Hessian matrix                             |
| field g                   | what optimizers follow in place of a gradient, as in a game          |
| critical curvature        | limit of linear stability, 2/η for gradient descent                  |
"""

import lazy_loader

__version__ = "0.1.0"

# The names at the front door are listed once, in `__init__.pyi`. A module is imported when one of
# its names is first used, so that `python -m dynopt.compare --help` need not wait for JAX.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
