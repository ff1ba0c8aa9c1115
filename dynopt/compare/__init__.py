"""The command line, `python -m dynopt.compare`: arguments in, figures and tables out."""

from .main import main as main, run as run
