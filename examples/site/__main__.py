"""Serve the example site on loopback: `python -m examples.site --port 8401`."""

from __future__ import annotations

import argparse

import uvicorn

from examples.site.app import create_app


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m examples.site", description="The example shop, on 127.0.0.1.")
    parser.add_argument("--port", type=int, default=8401)
    port = parser.parse_args().port
    # Open pages must not hold up the end of a demo: /slow may take minutes.
    uvicorn.run(create_app(), host="127.0.0.1", port=port, log_level="warning", timeout_graceful_shutdown=1)


if __name__ == "__main__":
    main()
