"""Flows derived by machine from maps."""

from .modified import Modified as Modified
