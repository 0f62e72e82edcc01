"""A proxy that signs in to the operator's package indexes for uv and npm: `python -I index_proxy.py`.

The build of a package sees what uv sees. So uv is given no credentials: what it asks for passes through here, in a box
of its own beside that of uv, in the same network. To what is read from an index of the operator, this adds his
credentials; connections to other hosts are passed on as they are. A connection by TLS to such an index ends here, with
a certificate that is made for this one process, and a new one begins, which is verified as the operator has said.

The standard input is a JSON object: `indexes`, pairs of an address and a user and password, a token, or null;
`variables`, those of the operator's proxies and certificates; and `folder`, to which the certificate is written. The
standard output is a line with a JSON object: the variables that lead a program here. A password in them keeps others of
this host out.
"""

from __future__ import annotations

import base64
import hmac
import http.client
import json
import os
import secrets
import select
import socket
import ssl
import sys
import tempfile
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from http.cookiejar import CookieJar, DefaultCookiePolicy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import certifi
import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, parse_sdist_filename, parse_wheel_filename

CERTIFICATES = "certificates.pem"
"""Name of the file of certificates in that folder."""
_UV, _GIT = "uv", "git"
"""Users of this proxy. What `git` asks for is passed on as it is: it trusts other certificates, and sends forms."""
_ASKED = ("Accept", "Accept-Encoding", "Authorization", "If-Modified-Since", "If-None-Match", "Range", "User-Agent")
"""Headers of requests that are passed on."""
_KEPT_BACK = frozenset({"connection", "keep-alive", "proxy-authenticate", "set-cookie", "trailer", "transfer-encoding"})
"""Headers of answers that are not: those of the connection, and cookies, which could sign in for all of a host."""
_EMPTY = (204, 304)
"""Statuses of answers without a body."""
_WITHIN = 60.0
"""Seconds for a connection to be made, and between two pieces of an answer."""
_PIECE = 64 * 1024
_PORTS = {"http": 80, "https": 443}


class Indexes:
    """The operator's indexes, with what signs him in, besides a client certificate if he is `certified`."""

    def __init__(self, indexes: list[tuple[str, tuple[str, str] | str | None]], *, certified: bool = False) -> None:
        # Of two addresses, the longer one says more of what lies below it.
        self._indexes = sorted(
            ((httpx.URL(url), known and _header(known)) for url, known in indexes), key=lambda each: -len(each[0].path)
        )
        self.hosts = {
            (url.raw_host.decode(), _port(url))
            for url, header in self._indexes
            if url.scheme == "https" and (header or certified)
        }
        """Hosts and ports to which connections by TLS end here."""

    def find(self, url: httpx.URL) -> tuple[httpx.URL, str | None] | None:
        """Return the index that an address belongs to; None if it is not one that uv has to read.

        To an index belongs all below its address, and files of packages wherever they lie on its host.
        """
        path = url.path
        if "\\" in path or any(part.startswith("..") for part in unquote(path).split("/")):
            return None  # Some servers would take this for another address than we do.
        where = (url.scheme, url.host, _port(url))
        here = [each for each in self._indexes if (each[0].scheme, each[0].host, _port(each[0])) == where]
        for each in here:
            if f"{path}/".startswith(f"{each[0].path.rstrip('/')}/"):
                return each
        if not _is_of_package(path.rpartition("/")[2]):
            return None
        return next((each for each in here if each[1] is not None), next(iter(here), None))


def _port(url: httpx.URL) -> int:
    return url.port or _PORTS[url.scheme]


def _is_of_package(name: str) -> bool:
    """Tell whether a file is a wheel, a source distribution, or the metadata of one, by its name."""
    for parse in (parse_wheel_filename, parse_sdist_filename):
        with suppress(InvalidWheelFilename, InvalidSdistFilename):
            parse(name.removesuffix(".metadata"))
            return True
    return False


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, indexes: Indexes, signed_in: httpx.Client, others: httpx.Client, tls: ssl.SSLContext | None
    ) -> None:
        self.indexes = indexes
        self.signed_in = signed_in
        self.others = others
        self.tls = tls
        self.password = secrets.token_urlsafe()
        super().__init__(("127.0.0.1", 0), _Handler)

    def address(self, user: str) -> str:
        return f"http://{user}:{self.password}@127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report unexpected errors. It is no error that a side breaks off its connection."""
        if not isinstance(sys.exception(), (OSError, httpx.HTTPError)):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, connection: socket.socket, address: Any, server: _Server, within: str | None = None) -> None:
        self._server = server
        self._within = within
        """The beginning of all addresses on a connection by TLS that ends here."""
        super().__init__(connection, address, server)

    def do_GET(self) -> None:
        if self._within is not None or self._user() is not None:
            self._fetch()

    do_HEAD = do_GET  # noqa: N815  # the name is the library's

    def do_CONNECT(self) -> None:
        if self._within is not None or (user := self._user()) is None:
            return
        host, _, port = self.path.rpartition(":")
        host = host.strip("[]").lower()
        if not port.isdecimal():
            self.send_error(400)
        elif user == _UV and self._server.tls is not None and (host, int(port)) in self._server.indexes.hosts:
            self._accept()
            with self._server.tls.wrap_socket(self.connection, server_side=True) as inside:
                _Handler(inside, self.client_address, self._server, f"https://{self.path}")
        else:
            self._tunnel(host, int(port))
        self.close_connection = True

    def _user(self) -> str | None:
        """Return the user of this proxy who asks, by name; None if it is none, which is answered."""
        told = self.headers.get("Proxy-Authorization", "")
        for user in (_UV, _GIT):
            if hmac.compare_digest(told.encode(), _basic(user, self._server.password).encode()):
                return user
        self.send_response(407)
        self.send_header("Proxy-Authenticate", "Basic")
        self.send_header("Content-Length", "0")
        self.end_headers()
        return None

    def _fetch(self) -> None:
        asked = self.path if self._within is None or not self.path.startswith("/") else f"{self._within}{self.path}"
        try:
            url = httpx.URL(asked)
            if url.scheme not in _PORTS or not url.host:
                raise httpx.InvalidURL("no host")
        except httpx.InvalidURL:
            self.send_error(400)
            return
        headers = {"Accept-Encoding": "identity"} | {
            name: self.headers[name] for name in _ASKED if name in self.headers
        }
        index = self._server.indexes.find(url)
        if index is not None and index[1] is not None:
            # A project may have credentials of its own for the same host, in an address that it names.
            headers.setdefault("Authorization", index[1])
        client = self._server.others if index is None else self._server.signed_in
        try:
            answer = client.send(client.build_request(self.command, url, headers=headers), stream=True)
        except httpx.HTTPError as error:
            self._fail(error)
            return
        with closing(answer):
            self._pass_on(answer)

    def _pass_on(self, answer: httpx.Response) -> None:
        """Pass on an answer, also one that leads elsewhere: uv goes there itself, and nobody signs in for that."""
        self.send_response_only(answer.status_code)
        for name, value in answer.headers.multi_items():
            if name.lower() not in _KEPT_BACK:
                self.send_header(name, value)
        has_body = self.command != "HEAD" and answer.status_code not in _EMPTY
        chunked = has_body and "content-length" not in answer.headers
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if has_body:
            for piece in answer.iter_raw(_PIECE):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
        if chunked:
            self.wfile.write(b"0\r\n\r\n")

    def _tunnel(self, host: str, port: int) -> None:
        """Connect to a host, by the operator's proxy if there is one, and pass on the bytes of both sides."""
        try:
            outside = _connect(host, port)
        except OSError as error:
            self._fail(error)
            return
        with outside:
            self._accept()
            _exchange(self.connection, outside)

    def _fail(self, error: Exception) -> None:
        """Report why a host does not answer. uv hears only that it does not."""
        print(f"not reached: {error or type(error).__name__}", file=sys.stderr)  # noqa: T201
        self.send_error(502)

    def _accept(self) -> None:
        self.send_response_only(200, "Connection established")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name is the library's
        pass


def _connect(host: str, port: int) -> socket.socket:
    proxies = getproxies()
    proxy = urlsplit(proxies.get("https") or proxies.get("all", ""))
    if proxy.hostname is None or proxy_bypass(host):
        return socket.create_connection((host, port), _WITHIN)
    if proxy.scheme != "http":
        raise OSError(f"a proxy of the kind {proxy.scheme} cannot be used together with credentials")
    through = http.client.HTTPConnection(proxy.hostname, proxy.port or 80, timeout=_WITHIN)
    user, password = (unquote(part or "") for part in (proxy.username, proxy.password))
    through.set_tunnel(host, port, {"Proxy-Authorization": _basic(user, password)} if user else {})
    through.connect()
    return through.sock


def _exchange(one: socket.socket, other: socket.socket) -> None:
    """Pass on what two sides send to each other, until both have ended."""
    to = {one: other, other: one}
    while to:
        for side in select.select(list(to), [], [])[0]:
            try:
                if piece := side.recv(_PIECE):
                    to[side].sendall(piece)
                    continue
                to.pop(side).shutdown(socket.SHUT_WR)
            except OSError:
                return


def _header(known: tuple[str, str] | str) -> str:
    """Return the header that signs in with a user and a password, or with a token."""
    return f"Bearer {known}" if isinstance(known, str) else _basic(*known)


def _basic(user: str, password: str) -> str:
    """Return the header that signs a user in."""
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def _trusted() -> str:
    """Return the certificates that the operator trusts: those that he names, or those that uv has and this host's."""
    if (named := os.environ.get("SSL_CERT_FILE")) is not None:
        files = [named]
    elif "SSL_CERT_DIR" in os.environ:
        files = []
    else:
        files = [certifi.where(), ssl.get_default_verify_paths().cafile]
    return "".join(f"{Path(file).read_text()}\n" for file in files if file)


def _client(trusted: str, certificate: str | None = None) -> httpx.Client:
    """Return what fetches for us, with a client certificate if it has one, and without cookies."""
    context = ssl.create_default_context(capath=os.environ.get("SSL_CERT_DIR"), cadata=trusted or None)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # It refuses certificates of many companies, which uv does not.
    if certificate:
        context.load_cert_chain(certificate)
    none = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=50)
    return httpx.Client(verify=context, timeout=_WITHIN, limits=limits, cookies=none)


def _certify(hosts: set[str]) -> tuple[str, ssl.SSLContext]:
    """Make a certificate for these hosts, and return it and what speaks TLS with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Callboard")])
    now, day = datetime.now(UTC), timedelta(days=1)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - day, now + day)
        .add_extension(x509.SubjectAlternativeName([_general_name(host) for host in sorted(hosts)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate = signed.public_bytes(Encoding.PEM).decode()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as file:
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + certificate.encode())
        file.flush()
        context.load_cert_chain(file.name)
    return certificate, context


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def main() -> None:
    """Serve until somebody ends this process."""
    order: dict[str, Any] = json.load(sys.stdin)
    os.environ.update(order["variables"])
    mine = os.environ.get("SSL_CLIENT_CERT")
    indexes = Indexes(order["indexes"], certified=mine is not None)
    tls, variables = None, dict[str, str]()
    try:
        trusted = _trusted()
        others = _client(trusted)
        signed_in = _client(trusted, mine) if mine else others
    except (OSError, ValueError) as error:
        sys.exit(f"the operator's certificates cannot be read ({error})")
    if indexes.hosts:
        certificate, tls = _certify({host for host, _ in indexes.hosts})
        file = Path(order["folder"]) / CERTIFICATES
        file.write_text(trusted + certificate)
        variables["SSL_CERT_FILE"] = str(file)
    with _Server(indexes, signed_in, others, tls) as server:
        variables |= dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), server.address(_UV))
        variables |= {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "http.proxy"}
        variables["GIT_CONFIG_VALUE_0"] = server.address(_GIT)
        print(json.dumps(variables), flush=True)  # noqa: T201
        server.serve_forever()


if __name__ == "__main__":
    main()
