import gc
import os
import subprocess
import sys
import time

import jax
import jaxtyping
import optax
import pytest

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")

# Nearly all of the time goes into compiling programs that then run for a moment, so XLA does as few
# optimizations as it can. With JAX_DISABLE_MOST_OPTIMIZATIONS=0 it compiles as it does for users;
# `.ci/run` does so for tests that must agree to the last bits, and for the course.
# Small programs are compiled soonest in one piece: to split them among threads costs more.
QUICK_COMPILATION = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"


def xla_accepts(flags: str) -> bool:
    """Whether XLA knows the flags; an unknown one ends its process, so another process tries."""
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", "import jax; jax.devices()"]
    return not subprocess.run(command, env=environment, capture_output=True).returncode


if "JAX_DISABLE_MOST_OPTIMIZATIONS" not in os.environ:
    jax.config.update("jax_disable_most_optimizations", True)
    if "XLA_FLAGS" not in os.environ and xla_accepts(QUICK_COMPILATION):
        os.environ["XLA_FLAGS"] = QUICK_COMPILATION  # for the workers of pytest-xdist, too


def pytest_collection_finish():
    """Keep the garbage collector from walking through all that was imported."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


@pytest.fixture(autouse=True, scope="module")
def drop_compiled_programs():
    """Free the memory of what one module of tests compiled, as hardly any other uses it.

    A module that was quick compiled little, and freeing takes half a second.
    """
    began = time.perf_counter()
    yield
    if time.perf_counter() - began > 4:
        jax.clear_caches()


@pytest.fixture
def as_users_see_it():
    """Bad arguments meet dynopt's own errors, not those of the type checker of the tests."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def library_path():
    """The positions of an optax transformation after each step."""

    def path(transform, grad, x, steps):
        @jax.jit
        def one_step(x, state):
            update, state = transform.update(grad(x), state, x)
            return optax.apply_updates(x, update), state

        state, positions = transform.init(x), []
        for _ in range(steps):
            x, state = one_step(x, state)
            positions.append(x)
        return positions

    return path
