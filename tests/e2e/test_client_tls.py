"""Our own client through what ends TLS before a gateway, as proxies do: blocking and awaiting, over
both protocols."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization

from serving_client import Client, ConnectionLostError, Tls, UnreachableError, WrongServerError
from serving_client.transports.http_blocking import HttpBlocking
from tests.clients import sdk
from tests.clients.gateway import Gateway
from tests.clients.tls_end import Authority, End, tls_end
from tests.small_models import tiny_expected

X = np.ones((1, 4), np.float32)
INSIDE = "gateway.internal"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def _port(gateway: Gateway, kind: str) -> int:
    return gateway.grpc_port if kind.endswith("grpc") else gateway.http_port


def _address(kind: str, end: End, host: str = "localhost") -> str:
    return f"{'grpcs' if kind.endswith('grpc') else 'https'}://{host}:{end.port}"


@pytest.fixture(params=sdk.KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def end(kind: str, gateway: Gateway, authority: Authority) -> Iterator[End]:
    with tls_end(_port(gateway, kind), authority, "localhost") as one:
        yield one


@pytest.fixture
def strict_end(kind: str, gateway: Gateway, authority: Authority) -> Iterator[End]:
    """One that wants to know its clients, and has another name than its address."""
    with tls_end(_port(gateway, kind), authority, INSIDE, asks_clients=True) as one:
        yield one


def test_a_server_of_a_trusted_authority_is_asked(
    kind: str, end: End, authority: Authority
) -> None:
    with sdk.at(kind, _address(kind, end), tls=Tls(ca=authority.file)) as client:
        assert np.allclose(client.infer("tiny", x=X)["y"], tiny_expected(X), atol=1e-6)
        large = np.random.default_rng(1).random((70_000, 4), dtype=np.float32)
        assert np.allclose(client.infer("tiny", x=large)["y"], tiny_expected(large), atol=1e-6)
        assert client.ready()


def test_who_is_not_trusted_is_not_asked_again_either(
    kind: str, end: End, tmp_path: Path, authority: Authority
) -> None:
    other = Authority(tmp_path)
    for host, trusted in (("localhost", None), ("localhost", other), ("127.0.0.1", authority)):
        tls = Tls(ca=None if trusted is None else trusted.file)
        with (
            sdk.at(kind, _address(kind, end, host), tls=tls, timeout=20) as client,
            pytest.raises(WrongServerError, match="its certificate is not trusted"),
        ):
            client.infer("tiny", x=X)


@pytest.mark.parametrize("files", ["two", "one"])
def test_a_client_shows_its_own_certificate(
    kind: str, strict_end: End, authority: Authority, files: str
) -> None:
    chain, key = authority.files("alice")
    if files == "one":
        chain.write_bytes(chain.read_bytes() + key.read_bytes())
    tls = Tls(
        ca=str(authority.file),
        certificate=chain,
        key=key if files == "two" else None,
        server_name=INSIDE,
    )
    with sdk.at(kind, _address(kind, strict_end, "127.0.0.1"), tls=tls) as client:
        assert client.infer("tiny", x=X).version == "1"
    assert set(strict_end.names) == {"alice"}


def test_a_client_without_one_is_told_that_the_connection_ended(
    kind: str, strict_end: End, authority: Authority
) -> None:
    tls = Tls(ca=authority.file, server_name=INSIDE)
    with (
        sdk.at(kind, _address(kind, strict_end, "127.0.0.1"), tls=tls, retry=None) as client,
        pytest.raises((ConnectionLostError, UnreachableError)),
    ):
        client.infer("tiny", x=X)


def test_a_server_without_tls_is_told_apart(
    kind: str, gateway: Gateway, authority: Authority
) -> None:
    plain = End(_port(gateway, kind))
    with (
        sdk.at(kind, _address(kind, plain, "127.0.0.1"), tls=Tls(ca=authority.file)) as client,
        pytest.raises(WrongServerError, match="it does not speak TLS: try "),
    ):
        client.infer("tiny", x=X)


def test_who_closes_a_client_ends_its_calls_with_tls_too(
    gateway: Gateway, authority: Authority
) -> None:
    """The socket in use is another one than was opened."""
    with tls_end(gateway.http_port, authority, "localhost") as end, ThreadPoolExecutor(1) as pool:
        client = Client(f"https://localhost:{end.port}", tls=Tls(ca=authority.file))
        client.infer("tiny", x=X)
        assert isinstance(client._transport, HttpBlocking)
        (pooled,) = client._transport._pools
        one: Any = pooled._get_conn()
        waiting = pool.submit(one.sock.recv, 1)
        client.close()
        assert waiting.result(timeout=10) == b""
        one.close()


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"ca": "nowhere.pem"}, "tls: ca '.*nowhere.pem': No such file"),
        ({"ca": "junk.pem"}, "tls: ca '.*junk.pem': not what OpenSSL reads"),
        ({"certificate": "nowhere.pem"}, "tls: certificate '.*nowhere.pem'.*: No such file"),
        ({"certificate": "alice.pem", "key": "bob.key"}, "not a pair"),
        ({"key": "bob.key"}, "tls: a key without its certificate"),
        ({"certificate": "locked.pem"}, "the key has a password, which is not supported"),
    ],
)
@pytest.mark.parametrize("scheme", ["grpcs", "https"])
def test_files_that_can_t_be_used_are_named(
    authority: Authority, files: dict[str, str], words: str, scheme: str
) -> None:
    folder = authority.folder
    (chain, key), _ = authority.files("alice"), authority.files("bob")
    (folder / "junk.pem").write_text("junk")
    (folder / "locked.pem").write_bytes(chain.read_bytes() + _locked(key))
    named: dict[str, Any] = {role: folder / name for role, name in files.items()}
    with pytest.raises(ValueError, match=words):
        Client(f"{scheme}://localhost:1", tls=Tls(**named))


def _locked(key: Path) -> bytes:
    """The key behind a password."""
    plain = serialization.load_pem_private_key(key.read_bytes(), None)
    return plain.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )


def test_tls_belongs_to_addresses_that_ask_for_it() -> None:
    with pytest.raises(ValueError, match="'localhost:1' is asked without it: expected grpcs://"):
        Client("localhost:1", tls=Tls())
    with pytest.raises(ValueError, match="some of the addresses are asked with TLS"):
        Client(["https://localhost:1", "http://localhost:2"])
