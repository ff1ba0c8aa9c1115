"""The command line, `python -m dynopt.compare`: arguments in, figures and tables out."""

import sys

if sys.argv[:1] == ["-m"] and any(word.endswith("dynopt.compare") for word in sys.orig_argv):
    # `python -m` looks into the current folder first, where a file such as json.py would take the
    # place of a library. What the user names there, --problem finds all the same.
    sys.path[:1] = sys.path[:1] if sys.flags.safe_path else []

from .main import main as main, run as run  # noqa: E402
