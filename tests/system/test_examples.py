"""Every example project, as a user would run it. Those of the shop are in tests/integration/examples/test_shop.py."""

from __future__ import annotations

import json
from typing import Any

import pytest

WINDOWS = {
    "pages": 3,
    "popup": "Popup",
    "second": "Second",
    "answer": "yes",
    "viewport": {"width": 1280, "height": 720},
}
PRODUCT = {"name": "Lamp", "price": 27.25, "tags": ["oak", "lamp"]}
RESULTS = [
    # The hook brings a context of its own through the debugging port, and the second Attempt finds a clean Machine.
    ("browser", "own-context", {}, {"language": "fr-FR", "hook": "api/own-context"}),
    ("browser", "own-context", {}, {"language": "fr-FR", "hook": "api/own-context"}),
    # There is no hook until the automation asks for the browser.
    ("browser", "deferred", {"cached": True}, {"browser": False, "hook": None}),
    ("browser", "deferred", {}, {"browser": True, "title": "Fetched", "hook": "api/deferred"}),
    ("browser", "windows", {}, WINDOWS),
    ("helpers", "results", {}, {"product": PRODUCT, "pair": [1, 2]}),
]


async def test_every_api_of_every_example_is_known_to_the_tests(stack: Any) -> None:
    published = {manifest.project: set(manifest.apis) for manifest in stack.dev.projects.deployed}
    assert {name: published[name] for name in ("browser", "helpers", "shop")} == {
        "browser": {"deferred", "own-context", "windows"},
        "helpers": {"remember", "results", "through-proxy"},
        "shop": {"download", "flaky", "list-products", "products/details", "slow"},
    }


@pytest.mark.parametrize(("project", "api", "parameters", "result"), RESULTS)
async def test_an_example_returns_what_it_should(
    stack: Any, project: str, api: str, parameters: dict[str, Any], result: dict[str, Any]
) -> None:
    answer = await stack.run(api, parameters, project=project, retry={"maximumAttempts": 1}, requestTimeout=30)
    assert answer.get("result") == result, answer


async def test_a_persistent_value_survives_its_run_and_attributes_are_recorded(stack: Any) -> None:
    name = {"name": "survives 'é/..'"}
    assert (await stack.run("remember", name, project="helpers"))["result"]["visits"] == 1
    run_id = await stack.start("remember", name, project="helpers")
    assert (await stack.result(run_id, project="helpers"))["result"]["visits"] == 2
    record = stack.data / "artifacts" / "runs" / "helpers" / run_id / "attempts" / "1" / "attempt.json"
    attributes = json.loads(record.read_text())["attributes"]
    assert (attributes["visits"], attributes["seenAt"][-6:]) == (2, "+00:00")


async def test_a_run_goes_through_the_proxy_that_its_start_names(stack: Any, example_site: Any) -> None:
    hidden = {"baseUrl": stack.site.replace("127.0.0.1", "behind-the-proxy.example")}
    through = await stack.run("through-proxy", hidden, project="helpers", proxy=example_site.proxy)
    address = example_site.proxy.replace("ada:lovelace@", "")
    assert through.get("result") == {"via": "1.1 example-proxy", "proxy": address}, through
    direct = await stack.run("through-proxy", {"baseUrl": stack.site}, project="helpers")
    assert direct.get("result") == {"via": "no proxy", "proxy": None}, direct
