"""The explorer: optimizers and losses live in a web page that computes everything itself."""

from .explorer import Explorer as Explorer, explore as explore
