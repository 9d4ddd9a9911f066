"""What ``tools/heat`` does once Heat is installed."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).parents[1]
sys.path.insert(0, str(PROJECT / "tests"))

from system.cloud import running_cloud  # noqa: E402
from system.keystone import CAST, PASSWORD  # noqa: E402

WHO = "ann"


def main() -> int:
    where = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as home, running_cloud(Path(home)) as cloud:
        account = (WHO, PASSWORD.format(WHO), CAST[WHO].project)
        walk = [where / "bin/python", "-W", "ignore", PROJECT / "tools/heat_stack.py"]
        done = subprocess.run([*walk, cloud.keystone.url, *account])
        if "Traceback" in cloud.service.log():
            print(cloud.service.log())
            return 1
        return done.returncode


if __name__ == "__main__":
    sys.exit(main())
