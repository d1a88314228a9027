"""``.venv/bin/python infra/demo``: puts the repository on the import path and plays the demo.

Python puts this folder itself first on the path when a folder is run; it is replaced by the repository, so that the
modules here are imported by one name (``infra.demo...``) only.
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])

from infra.demo.director import main  # noqa: E402 - the path has to be right first

sys.exit(main())
