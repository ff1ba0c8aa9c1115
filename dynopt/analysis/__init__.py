"""Numbers about trajectories: how far map and flow part in one step, along a run, and as the clock is refined."""

from .gap import Gap as Gap, gap as gap
from .local_error import LocalError as LocalError, local_error as local_error
from .order import Order as Order, order as order
