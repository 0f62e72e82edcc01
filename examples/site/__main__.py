"""Serve the example site on loopback: `python -m examples.site --port 8401`, and a proxy with `--proxy-port 8402`."""

from __future__ import annotations

import argparse
from pathlib import Path

import uvicorn

from examples.site.app import create_app


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m examples.site", description="The example shop, on 127.0.0.1.")
    parser.add_argument("--port", type=int, default=8401)
    parser.add_argument("--proxy-port", type=int, help="serve a proxy as well, which asks for user and password")
    parser.add_argument(
        "--webhook-secret", type=Path, help="file with the secret that results in its inbox are signed with"
    )
    arguments = parser.parse_args()
    app = create_app(proxy_port=arguments.proxy_port, webhook_secret=arguments.webhook_secret)
    # Open pages must not hold up the end of a demo: /slow may take minutes.
    uvicorn.run(app, host="127.0.0.1", port=arguments.port, log_level="warning", timeout_graceful_shutdown=1)


if __name__ == "__main__":
    main()
