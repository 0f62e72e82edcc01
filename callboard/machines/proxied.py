"""Start a proxy, and then a program whose variables lead to it: `python -I -S proxied.py PROXY COMMAND…`.

PROXY is the proxy's command, in JSON. What it must know, and the program must not, is in the variable `TOLD`: this
writes it to the proxy's standard input. The proxy prints a line with a JSON object, the variables for the program. Both
end with the keeper that has started this. This runs on the standard library alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import NoReturn

TOLD = "CALLBOARD_TOLD_TO_PROXY"


def main() -> NoReturn:
    """Start both; see the module's docstring."""
    told = os.environ.pop(TOLD)
    proxy = subprocess.Popen(json.loads(sys.argv[1]), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    if proxy.stdin is None or proxy.stdout is None:
        raise AssertionError
    with proxy.stdin:
        proxy.stdin.write(told)
    if not (line := proxy.stdout.readline()):
        sys.exit(1)  # It has said why.
    os.environ.update(json.loads(line))
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606  # no shell is wanted


if __name__ == "__main__":
    main()
