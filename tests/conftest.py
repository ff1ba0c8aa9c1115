import gc
import os
import subprocess
import sys

import jax
import jaxtyping
import optax
import pytest

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")

# Nearly all of the time goes into compiling programs that then run for a moment, so XLA does little more than it must.
# JAX_DISABLE_MOST_OPTIMIZATIONS=0 has it compile as it does for users; `.ci/run` does so for what must agree to the
# last bits, and for the course.
PLAIN_LOOPS = "--xla_cpu_use_fusion_emitters=false"


def xla_knows(flag: str) -> bool:
    """A flag that XLA does not know ends the process that meets it, so another one is sent ahead."""
    environment = os.environ | {"XLA_FLAGS": flag, "JAX_PLATFORMS": "cpu"}
    meet = [sys.executable, "-c", "import jax; jax.devices()"]
    return not subprocess.run(meet, env=environment, capture_output=True).returncode


if "JAX_DISABLE_MOST_OPTIMIZATIONS" not in os.environ:
    jax.config.update("jax_disable_most_optimizations", True)
    if "XLA_FLAGS" not in os.environ and xla_knows(PLAIN_LOOPS):
        os.environ["XLA_FLAGS"] = PLAIN_LOOPS  # for the workers, too


def pytest_collection_finish():
    """All that was imported stays, so the garbage collector need not walk through it; and tracing makes few cycles."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


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
