"""One of several engine processes of a server: ``NUMBER ARGUMENTS…``."""

from __future__ import annotations

import sys

from mistral.cmd.children import end_with_parent
from mistral.cmd.server import run


def main() -> int:
    end_with_parent()
    return run(sys.argv[2:], roles=("engine",), worker=int(sys.argv[1]))


if __name__ == "__main__":
    sys.exit(main())
