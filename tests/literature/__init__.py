"""Numbers of the literature, chapter by chapter, each with a computation that must give it."""

from . import descent, edge, games, methods, noise

CLAIMS = descent.chapter | games.chapter | noise.chapter | edge.chapter | methods.chapter
