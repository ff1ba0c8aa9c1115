import importlib.util
import shutil

CHROMIUM = shutil.which("chromium")
HAS_BROWSER = CHROMIUM is not None and importlib.util.find_spec("playwright") is not None
collect_ignore = [] if HAS_BROWSER else ["test_browser.py"]
