"""What the bare command draws."""

import pytest

from dynopt import problems
from dynopt.compare import gallery
from dynopt.compare.options import READERS, typed


@pytest.mark.parametrize("name", gallery.STUDIES)
def test_what_is_chosen_for_the_gallery_could_be_typed(name):
    assert name in problems.catalogue
    for option, value in gallery.STUDIES[name].items():
        assert READERS[option](typed(value)) == value
