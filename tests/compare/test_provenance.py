"""What is written into files, and over which."""

import os

import pytest

from dynopt.compare.provenance import must_be_writable
from dynopt.errors import OutputError


def test_a_pipe_is_refused_before_anything_is_computed(tmp_path):
    """To read it would wait for ever."""
    os.mkfifo(tmp_path / "pipe.npz")
    for force in (False, True):
        with pytest.raises(OutputError, match="pipe.npz' is no ordinary file; choose another name"):
            must_be_writable(tmp_path / "pipe.npz", force=force)
