"""The rules that a worker makes from its settings: names are looked up, and its own parts are closed."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Any

import psutil
import pytest

from callboard.machines.network import addresses_of_this_host, find_reach
from callboard.machines.reach import Reach
from callboard.schemas.errors import ConfigurationError
from callboard.settings import Settings

NAMES = {"temporal": ["10.7.0.2"], "store.example": ["93.184.216.34"], "intranet": ["10.8.0.1", "fd00:8::1"]}


async def reach_of(
    names: Mapping[str, list[str]] = NAMES,
    temporal_address: str = "127.0.0.1:7233",
    other_parts: Sequence[str] = (),
    index: Sequence[tuple[str, int]] = (),
    **settings: Any,
) -> Reach:
    async def resolve(host: str, _port: int) -> list[str]:
        if host in names:
            return names[host]
        try:
            return [str(ip_address(host))]
        except ValueError:
            raise socket.gaierror(socket.EAI_NONAME, "not known") from None

    return await find_reach(
        Settings(**settings),
        temporal_address=temporal_address,
        other_parts=other_parts,
        index=index,
        resolve=resolve,
    )


def is_open(reach: Reach, address: str, port: int = 443) -> bool:
    place = ip_address(address)
    is_own = port in reach.closed_ports and any(place in network for network in reach.own_networks)
    return reach.is_open(place) and not is_own


async def test_callboards_own_parts_are_closed_where_their_addresses_are_private() -> None:
    reach = await reach_of(
        temporal_address="temporal:7233",
        temporal_ui_url="http://10.7.0.3:8080",
        artifacts_endpoint="https://store.example:9000",
        other_parts=["http://10.7.0.9:4318"],
    )
    assert not is_open(reach, "10.7.0.2")
    assert not is_open(reach, "10.7.0.9", 4318)
    assert not is_open(reach, "10.7.0.3")
    assert is_open(reach, "10.7.0.4")
    assert is_open(reach, "93.184.216.34")
    assert {7233, 8080, 9000, 8400, 8410} <= reach.closed_ports


async def test_an_open_loopback_is_closed_at_the_ports_of_all_parts() -> None:
    reach = await reach_of(
        browser_allow=["127.0.0.0/8", "::1"],
        temporal_ui_url="http://127.0.0.1:8233",
        port=9400,
        own_ports=[4567],
        metrics_address="127.0.0.1:9464",
        health_address="127.0.0.1:9470",
    )
    for port in (7233, 8233, 9400, 9410, 4567, 9464, 9470):
        assert not is_open(reach, "127.0.0.1", port)
        assert not is_open(reach, "::1", port)
    assert is_open(reach, "127.0.0.1", 3000)
    assert is_open(reach, "127.0.0.1", 80)


async def test_names_are_opened_and_closed_by_all_their_addresses() -> None:
    reach = await reach_of(browser_deny=["intranet", "10.9.0.0/16"], browser_allow=["Temporal.", "10.9.1.0/24"])
    assert not is_open(reach, "10.8.0.1")
    assert not is_open(reach, "fd00:8::1")
    assert not is_open(reach, "10.9.0.1")
    assert is_open(reach, "10.9.1.1")
    assert is_open(reach, "10.7.0.2"), "the operator has opened it by its name"


async def test_an_index_is_open_at_its_port_alone() -> None:
    reach = await reach_of(index=[("intranet", 8080), ("nowhere.example", 443)], browser_deny=["intranet"])
    assert reach.opened == (("10.8.0.1", 8080), ("fd00:8::1", 8080))
    assert not is_open(reach, "10.8.0.1")


async def test_a_name_that_is_not_found_closes_nothing_and_so_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"CALLBOARD_BROWSER_DENY names the host nowhere\.example"):
        await reach_of(browser_deny=["nowhere.example"])


async def test_a_name_that_is_not_found_opens_nothing(caplog: pytest.LogCaptureFixture) -> None:
    assert await reach_of(browser_allow=["nowhere.example"]) == await reach_of()
    assert "nowhere.example, which is not found" in caplog.text


@pytest.mark.parametrize("setting", ["browser_allow", "browser_deny"])
async def test_what_is_neither_a_network_nor_a_name_is_refused(setting: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^CALLBOARD_{setting.upper()}: 'http://x/' is neither a network"):
        await find_reach(Settings.model_validate({setting: ["http://x/"]}), temporal_address="127.0.0.1:7233")


async def test_all_addresses_of_this_host_are_closed() -> None:
    reach = await reach_of()
    families = {socket.AF_INET, socket.AF_INET6}
    texts = {
        each.address for addresses in psutil.net_if_addrs().values() for each in addresses if each.family in families
    }
    assert texts
    for text in texts:
        assert not is_open(reach, text.partition("%")[0])
    assert not [address for address in addresses_of_this_host() if address.is_loopback or address.is_link_local]
