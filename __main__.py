"""The command from this folder, for a Python that does not look for packages in it, such as the portable ComfyUI's."""

import sys

from gpen.cli import main

if __name__ == "__main__":
    sys.exit(main())
