"""What ends TLS before a gateway, as a proxy does: a real handshake, and bytes passed on."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import trustme


class Authority:
    """A CA of the test's own, with what it has signed, as files in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.made = trustme.CA()
        self.file = folder / "ca.pem"
        self.made.cert_pem.write_to_path(self.file)

    def certificate(self, *names: str) -> trustme.LeafCert:
        return self.made.issue_cert(*names)

    def files(self, *names: str) -> tuple[Path, Path]:
        """A certificate's file and its key's."""
        leaf, stem = self.certificate(*names), names[0]
        chain, key = self.folder / f"{stem}.pem", self.folder / f"{stem}.key"
        chain.write_bytes(b"".join(one.bytes() for one in leaf.cert_chain_pems))
        leaf.private_key_pem.write_to_path(key)
        return chain, key


@dataclass
class End:
    """``names``: of the clients that came with a certificate, one a connection."""

    port: int
    names: list[str] = field(default_factory=list)


@contextmanager
def tls_end(
    target: int, authority: Authority, name: str, *, asks_clients: bool = False
) -> Iterator[End]:
    """Before port ``target`` of this machine, with a certificate for ``name``; ``asks_clients``:
    whoever has none of the authority's is refused."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["h2", "http/1.1"])
    authority.certificate(name).configure_cert(context)
    if asks_clients:
        context.verify_mode = ssl.CERT_REQUIRED
        authority.made.configure_trust(context)
    loop, end = asyncio.new_event_loop(), End(0)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peercert")
        if peer:
            end.names += [value for kind, value in peer["subjectAltName"] if kind == "DNS"]
        inner, to = await asyncio.open_connection("127.0.0.1", target)
        try:
            with suppress(asyncio.CancelledError):
                await asyncio.gather(_pass(reader, to), _pass(inner, writer))
        finally:
            # At once: who is asked to close waits for the other side.
            for one in (writer, to):
                one.transport.abort()

    server = loop.run_until_complete(
        asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)  # of the test alone
    )
    end.port = server.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever, name="tls end")
    thread.start()
    try:
        yield end
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        loop.run_until_complete(server.wait_closed())
        loop.run_until_complete(_ended(asyncio.all_tasks(loop)))
        loop.close()


async def _ended(tasks: set[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    # What was aborted is closed by the loop's next step.
    await asyncio.sleep(0)


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError, ssl.SSLError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    with suppress(OSError, ssl.SSLError):
        writer.close()
