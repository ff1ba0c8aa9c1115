"""Wells with humps between them: the optimizer and the start decide in which one a run ends."""

from .problem import Problem, source_in_docstring


def saddle() -> Problem:
    """Two wells and the pass between them.

        f(x, y) = x⁴/4 - x²/2 + y²/2

    Domain: everywhere. Minimizers: (±1, 0), where f = -1/4. At (0, 0) the curvatures are -1 and 1:
    a run from near the ridge x = 0 first slows down there, then leaves like e^t.

    >>> problem = saddle()
    >>> round(float(problem.loss(problem.start())), 3)
    1.125

    Source: the double well of every mechanics course, with one more dimension.
    """
    return Problem(
        _saddle,
        [0.01, 1.5],
        minimizers=[[1.0, 0.0], [-1.0, 0.0]],
        minimum=-0.25,
        window=((-1.75, 1.75), (-1.75, 1.75)),
        source=source_in_docstring(saddle),
    )


def _saddle(position):
    x, y = position
    return x**4 / 4 - x**2 / 2 + y**2 / 2


def himmelblau() -> Problem:
    """Four equal wells around a hill.

        f(x, y) = (x² + y - 11)² + (x + y² - 7)²

    Domain: [-5, 5]². Minimizers: (3, 2), (3.584, -1.848), (-2.805, 3.131) and (-3.779, -3.283),
    where f = 0.

    >>> problem = himmelblau()
    >>> float(problem.loss(problem.start()))
    200.0

    Source: D. M. Himmelblau, Applied Nonlinear Programming, McGraw-Hill (1972).
    """
    return Problem(
        _himmelblau,
        [0.0, -3.0],  # from here gradient descent, momentum and Adam may end in different wells
        minimizers=[
            [3.0, 2.0],
            [3.5844283403304917, -1.8481265269644036],
            [-2.8051180869527449, 3.1313125182505730],
            [-3.7793102533777469, -3.2831859912861694],
        ],
        minimum=0.0,
        window=((-6, 6), (-6, 6)),
        source=source_in_docstring(himmelblau),
    )


def _himmelblau(position):
    x, y = position
    return (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2


def three_hump_camel() -> Problem:
    """A deep well between two shallow ones.

        f(x, y) = 2x² - 1.05x⁴ + x⁶/6 + xy + y²

    Domain: [-5, 5]². Minimizer: (0, 0), where f = 0; the minima at ±(1.748, -0.874) are worse,
    f = 0.299.

    >>> problem = three_hump_camel()
    >>> round(float(problem.loss(problem.start())), 3)
    4.867

    Source: S. Surjanovic and D. Bingham, Virtual Library of Simulation Experiments,
    sfu.ca/~ssurjano/camel3.html.
    """
    return Problem(
        _three_hump_camel,
        [-2.0, -1.0],
        minimizers=[0.0, 0.0],
        minimum=0.0,
        window=((-2.25, 2.25), (-2, 2)),
        source=source_in_docstring(three_hump_camel),
    )


def _three_hump_camel(position):
    x, y = position
    return 2 * x**2 - 1.05 * x**4 + x**6 / 6 + x * y + y**2


def six_hump_camel() -> Problem:
    """Six wells in pairs; the two in the middle are the deepest.

        f(x, y) = (4 - 2.1x² + x⁴/3) x² + xy + (4y² - 4) y²

    Domain: [-3, 3] × [-2, 2]. Minimizers: ±(0.0898, -0.7127), where f = -1.0316.

    >>> problem = six_hump_camel()
    >>> round(float(problem.loss(problem.start())), 3)
    2.411

    Source: L. C. W. Dixon and G. P. Szegö (eds.), Towards Global Optimisation 2, North-Holland
    (1978).
    """
    return Problem(
        _six_hump_camel,
        [1.8, 0.6],
        minimizers=[
            [0.08984201310031806, -0.7126564030207396],
            [-0.08984201310031806, 0.7126564030207396],
        ],
        minimum=-1.0316284534898774,
        window=((-2, 2), (-1.2, 1.2)),
        source=source_in_docstring(six_hump_camel),
    )


def _six_hump_camel(position):
    x, y = position
    return (4 - 2.1 * x**2 + x**4 / 3) * x**2 + x * y + (4 * y**2 - 4) * y**2


def double_well() -> Problem:
    """Two equal wells on a line, with a hump between them.

        f(x) = (x² - 1)²/4

    Domain: everywhere. Minimizers: ±1, where f = 0 and f″ = 2. The hump at 0 is 1/4 high, and
    f″ = -1 there: a run from near it leaves like e^t. Noise carries runs over it; the mean time to
    cross it at a low temperature T is π √2 e^(1/(4T)), after Kramers.

    >>> problem = double_well()
    >>> round(float(problem.loss(problem.start())), 3)
    2.25

    Source: H. A. Kramers, "Brownian motion in a field of force and the diffusion model of chemical
    reactions" (1940), for the escape from a well.
    """
    return Problem(
        _double_well,
        [2.0],  # so steep that suggested learning rates suit noisy paths, too
        minimizers=[[-1.0], [1.0]],
        minimum=0.0,
        source=source_in_docstring(double_well),
    )


def _double_well(position):
    (x,) = position
    return (x**2 - 1) ** 2 / 4
