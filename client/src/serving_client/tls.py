"""How a server proves who it is where it is asked by ``grpcs://`` or ``https://``; and a client."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Tls:
    """Files are in PEM, and read once, when the client is made.

    ``ca``: the certificates that a server's must come from; None: those that the protocol's library
    trusts (for HTTP the system's, for gRPC its own list). ``certificate``: the client's own with
    what it comes from, for servers that ask for one, and ``key``: its key, without a password;
    None: it stands in the same file. ``server_name``: whom the server's certificate is for, where
    that is not the address's host.
    """

    ca: str | os.PathLike[str] | None = None
    certificate: str | os.PathLike[str] | None = None
    key: str | os.PathLike[str] | None = None
    server_name: str | None = None

    def context(self) -> ssl.SSLContext:
        """For HTTP/1.1. Raises ValueError that names the file that can't be used."""
        if self.key is not None and self.certificate is None:
            raise ValueError("tls: a key without its certificate")
        try:
            context = ssl.create_default_context(cafile=self.ca)
        except (OSError, ValueError) as error:
            raise ValueError(f"tls: ca '{self.ca}': {_words(error)}") from None
        context.set_alpn_protocols(["http/1.1"])
        if self.certificate is not None:
            try:
                context.load_cert_chain(self.certificate, self.key, password=_no_password)
            except (OSError, ValueError) as error:
                files = f"certificate '{self.certificate}', key '{self.key or self.certificate}'"
                raise ValueError(f"tls: {files}: {_words(error)}") from None
        return context

    def pems(self) -> tuple[bytes | None, bytes | None, bytes | None]:
        """Of the CAs, the key, and the certificate, as gRPC takes them. Raises ValueError."""
        self.context()
        chain = _read(self.certificate)
        return _read(self.ca), chain if self.key is None else _read(self.key), chain


def _read(file: str | os.PathLike[str] | None) -> bytes | None:
    return None if file is None else Path(file).read_bytes()


def _no_password() -> str:
    """Where there is none, OpenSSL asks the terminal."""
    raise ValueError("the key has a password, which is not supported")


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return f"not what OpenSSL reads in PEM, or not a pair ({error.reason or error})"
    return getattr(error, "strerror", None) or str(error)
