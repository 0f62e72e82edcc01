"""What docs/sinks.md says is so: its receiver verifies, and its bodies are bodies."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from callboard.dev import ports
from callboard.dev.data_folder import new_webhook_secret
from callboard.schemas.rest.alerts import AlertBody
from callboard.schemas.rest.delivery import DeliveryList
from callboard.schemas.rest.start_request import StartRequest
from callboard.security.sealed_sinks import seal_sink
from callboard.security.signing import WebhookSigner
from tests.support.delivery_inputs import QUICK, RING
from tests.support.repository import REPOSITORY

PAGE = (REPOSITORY / "docs" / "sinks.md").read_text()
JSON = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", PAGE, flags=re.DOTALL)]
SECRET = new_webhook_secret()


@dataclass
class Receiver:
    url: str
    output: Path

    def post(self, body: bytes, run_id: str, secret: str = SECRET) -> int:
        headers = WebhookSigner([secret]).sign(run_id, datetime.now(UTC), body)
        with httpx.Client(trust_env=False, timeout=30) as client:
            return client.post(self.url, content=body, headers=headers).status_code

    def printed(self) -> list[str]:
        return self.output.read_text().splitlines()


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    """The page's receiver, as it is printed there."""
    folder = tmp_path_factory.mktemp("receiver")
    (code,) = re.findall(r"`receiver\.py`\n\n```python\n(.*?)```", PAGE, flags=re.DOTALL)
    (folder / "receiver.py").write_text(code)
    port = ports.choose_ports({"--port": 0})["--port"]
    with (folder / "out").open("w") as out, (folder / "err").open("w") as err:
        process = subprocess.Popen(
            [sys.executable, "receiver.py"],
            cwd=folder,
            env={"WEBHOOK_SECRET": SECRET, "PORT": str(port)},
            stdout=out,
            stderr=err,
        )
        try:
            wait_for(port, process)
            yield Receiver(f"http://127.0.0.1:{port}", folder / "out")
        finally:
            process.terminate()
            process.wait(30)


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    with httpx.Client(trust_env=False) as client:
        while True:
            assert process.poll() is None
            try:
                client.get(f"http://127.0.0.1:{port}")
            except httpx.TransportError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            else:
                return


def test_the_receiver_takes_what_is_signed_and_each_result_once(receiver: Receiver):
    body = json.dumps(JSON[1]).encode()
    assert [receiver.post(body, "run-1"), receiver.post(body, "run-1")] == [204, 204]
    assert receiver.post(body, "run-2") == 204
    expected = str({"status": "completed", "result": {"products": []}, "statusCode": 200})
    assert receiver.printed() == [expected, expected]


def test_the_receiver_refuses_what_another_has_signed(receiver: Receiver):
    before = receiver.printed()
    assert receiver.post(b"{}", "run-3", new_webhook_secret()) == 401
    assert receiver.printed() == before


def test_the_sinks_and_the_answer_that_are_shown_are_such():
    hook = StartRequest.model_validate(JSON[0]).sink
    bucket = StartRequest.model_validate({**JSON[0], "sink": without_ellipses(JSON[2])}).sink
    for sink in (hook, bucket):
        assert sink is not None
        seal_sink(sink, QUICK, RING, "anybody")
    assert DeliveryList.model_validate_json(json.dumps(JSON[4])).deliveries[0].status == "delivered"
    alert = {name: value for name, value in JSON[3].items() if name not in ("type", "project")}
    assert AlertBody.model_validate_json(json.dumps(alert)).closed_at is None


def without_ellipses(sink: dict[str, Any]) -> dict[str, Any]:
    return {name: "x" if value == "…" else value for name, value in sink.items()}


def test_a_secret_that_is_made_as_the_page_says_signs():
    (command,) = re.findall(r'^echo "whsec_.*$', PAGE, flags=re.MULTILINE)
    secret = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True).stdout.strip()
    WebhookSigner([secret]).sign("run-1", datetime.now(UTC), b"{}")
