import jax
import jaxtyping
import optax
import pytest

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture
def as_users_see_it():
    """Bad input meets dynopt's own sentences, not those of the type checker that only tests turn on."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def library_path():
    """The positions that optax itself goes through, after each step."""

    def path(transform, grad, x, steps):
        state, seen = transform.init(x), []
        for _ in range(steps):
            update, state = transform.update(grad(x), state, x)
            x = optax.apply_updates(x, update)
            seen.append(x)
        return seen

    return path
