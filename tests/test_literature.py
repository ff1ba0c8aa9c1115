"""Published numbers that dynopt computes again."""

import pytest
from literature import CLAIMS

QUICK, SLOW = ([c for c in CLAIMS.values() if c.slow is slow] for slow in (False, True))
parametrize = pytest.mark.parametrize


@parametrize("claim", QUICK, ids=lambda claim: claim.compute.__name__)
def test_the_published_number_is_found(claim):
    assert claim.low <= claim.compute() <= claim.high, claim.name


@pytest.mark.slow
@parametrize("claim", SLOW, ids=lambda claim: claim.compute.__name__)
def test_the_published_number_is_found_in_a_long_run(claim):
    assert claim.low <= claim.compute() <= claim.high, claim.name
