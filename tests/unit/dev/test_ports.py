import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from callboard.dev import ports
from callboard.schemas.errors import StackError


def test_zero_takes_free_ports_that_differ():
    claimed = ports.choose_ports({"--port": 0, "--temporal-port": 0, "--ui-port": 0})
    assert len(set(claimed.values())) == 3
    assert 0 not in claimed.values()


def test_a_free_port_is_taken_as_wanted_once():
    wanted = ports.choose_ports({"--port": 0})["--port"]
    assert ports.choose_ports({"--port": wanted}) == {"--port": wanted}
    with pytest.raises(StackError, match="--ui-port"):
        ports.choose_ports({"--port": wanted, "--ui-port": wanted})


@pytest.mark.parametrize(
    ("page", "headers", "said"),
    [
        ("<title>Playwright Trace Viewer</title>", {}, "The trace viewer of another Callboard listens there."),
        ("", {"x-correlation-id": "1"}, "Another Callboard listens there."),
        ("something else", {}, None),
    ],
)
def test_a_port_of_another_callboard_is_told(page: str, headers: dict[str, str], said: str | None):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            for name, text in headers.items():
                self.send_header(name, text)
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        with pytest.raises(StackError) as refused:
            ports.choose_ports({"--port": server.server_address[1]})
        server.shutdown()
        thread.join()
    assert (said or "") in refused.value.message
    assert ("Callboard" in refused.value.message) == (said is not None)


def test_a_port_in_use_is_named_with_its_option():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(StackError, match=rf"Port {port} is in use.*--ui-port"):
            ports.choose_ports({"--port": 0, "--ui-port": port})
