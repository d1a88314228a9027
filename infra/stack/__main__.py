"""``python3 infra/stack COMMAND``: puts the repository on the import path and calls the command line.

Python puts this folder itself first on the path when a folder is run; it is replaced by the
repository, so that the modules here are imported by one name (``infra.stack...``) only.
"""

import sys
from pathlib import Path

if sys.version_info < (3, 11):  # noqa: UP036 - this is what tells people so
    sys.exit("infra/stack needs Python 3.11 or newer; this is " + sys.version.split(maxsplit=1)[0])

sys.path[0] = str(Path(__file__).resolve().parents[2])

from infra.stack.cli import main  # noqa: E402 - the path has to be right first

sys.exit(main())
