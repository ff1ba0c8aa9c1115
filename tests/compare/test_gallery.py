"""What the command draws unless something else is typed."""

import pytest

from dynopt import problems
from dynopt.compare import gallery
from dynopt.compare.measurements import FIGURES
from dynopt.compare.options import READERS
from dynopt.compare.values import as_typed


@pytest.mark.parametrize("study", gallery.STUDIES)
def test_what_is_chosen_for_the_gallery_could_be_typed(study):
    assert set(study["problem"]) <= {*problems.catalogue, *problems.games}
    for option, value in study.items():
        assert READERS[option](as_typed(value)) == value


def test_every_figure_that_is_named_is_in_the_catalogue():
    named = {figure for chosen in gallery.STUDIES for figure in chosen["figures"]}
    assert named | set(gallery.ON_DEMAND) <= set(FIGURES)
