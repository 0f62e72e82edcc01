import socket

import pytest

from devstack import ports
from schemas.errors import StackError


def test_zero_takes_free_ports_that_differ():
    claimed = ports.choose_ports({"--port": 0, "--temporal-port": 0, "--ui-port": 0})
    assert len(set(claimed.values())) == 3
    assert 0 not in claimed.values()


def test_a_free_port_is_taken_as_wanted_once():
    wanted = ports.choose_ports({"--port": 0})["--port"]
    assert ports.choose_ports({"--port": wanted}) == {"--port": wanted}
    with pytest.raises(StackError, match="--ui-port"):
        ports.choose_ports({"--port": wanted, "--ui-port": wanted})


def test_a_port_in_use_is_named_with_its_option():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(StackError, match=rf"Port {port} is in use.*--ui-port"):
            ports.choose_ports({"--port": 0, "--ui-port": port})
