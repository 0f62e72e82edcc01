"""Say why a connection to Temporal fails: the SDK has one error for all reasons, with a text for its developers."""

from __future__ import annotations

from temporalio.service import ConnectConfig, TLSConfig

from schemas.errors import ConfigurationError, Unavailable


def connect_error(config: ConnectConfig, error: RuntimeError) -> ConfigurationError | Unavailable:
    """Return our error for the one that the SDK has raised as it could not connect.

    It is a ConfigurationError if another try will fail, too: a setting or a certificate has to change.
    """
    address, text = config.target_host, str(error)
    for sign, explanation in _PERMANENT.items():
        if sign in text:
            return ConfigurationError(explanation.format(address=address))
    if "code: Unauthenticated" in text or "code: PermissionDenied" in text:
        return ConfigurationError(_explain_refusal(config))
    if "after connection" in text and any(sign in text for sign in _HANG_UPS):
        return Unavailable(_explain_hang_up(config))
    return Unavailable(f"Temporal cannot be reached at {address}. Start it, or set CALLBOARD_TEMPORAL_ADDRESS.")


_HANG_UPS = ("transport error", "connection closed")
"""Signs in the text of the SDK that a connection that was made has been closed at once. A server that does not take the
client certificate does just this: in TLS 1.3, it looks at the certificate after the client has begun to speak."""

_PERMANENT = {
    "NotValidForName": (
        "The certificate of Temporal at {address} is for another name. Correct CALLBOARD_TEMPORAL_ADDRESS"
        " (or TEMPORAL_ADDRESS), or set TEMPORAL_TLS_SERVER_NAME to the name in the certificate."
    ),
    "InvalidCertificate(Expired": (
        "The certificate of Temporal at {address} has expired. Its operator has to replace it."
    ),
    "InvalidCertificate(": (
        "The certificate of Temporal at {address} is not signed by an authority that this host trusts. Set"
        " TEMPORAL_TLS_SERVER_CA_CERT_PATH to the certificate of its authority."
    ),
    "InvalidContentType": (
        "Temporal at {address} does not speak TLS, and it is configured here. Correct CALLBOARD_TEMPORAL_ADDRESS (or"
        " TEMPORAL_ADDRESS), or set TEMPORAL_TLS=false for a plain connection."
    ),
    "AlertReceived(CertificateRequired": (
        "Temporal at {address} asks for a client certificate. Set TEMPORAL_TLS_CLIENT_CERT_PATH and"
        " TEMPORAL_TLS_CLIENT_KEY_PATH."
    ),
    "AlertReceived(": (
        "Temporal at {address} refuses the client certificate (TEMPORAL_TLS_CLIENT_CERT_PATH). It must be signed by an"
        " authority that the namespace accepts."
    ),
}
"""Signs in the text of the SDK, most special first, and what to say of each."""


def _explain_refusal(config: ConnectConfig) -> str:
    if config.api_key is not None:
        return (
            f"Temporal at {config.target_host} refuses the API key (TEMPORAL_API_KEY, or of the profile). It may have"
            " expired, be of another account, or not be allowed to use the namespace."
        )
    return (
        f"Temporal at {config.target_host} refuses this client, which has no API key. Set TEMPORAL_API_KEY, or the"
        " client certificate that it asks for (TEMPORAL_TLS_CLIENT_CERT_PATH, TEMPORAL_TLS_CLIENT_KEY_PATH)."
    )


def _explain_hang_up(config: ConnectConfig) -> str:
    closes = f"Temporal at {config.target_host} closes the connection."
    if not config.tls:
        return f"{closes} It may speak TLS only, and this connection is plain: set TEMPORAL_TLS=true."
    if isinstance(config.tls, TLSConfig) and config.tls.client_cert is not None:
        return (
            f"{closes} It may refuse the client certificate (TEMPORAL_TLS_CLIENT_CERT_PATH), which must be signed by an"
            " authority that it accepts."
        )
    return (
        f"{closes} It may ask for a client certificate, and there is none: set TEMPORAL_TLS_CLIENT_CERT_PATH and"
        " TEMPORAL_TLS_CLIENT_KEY_PATH."
    )
