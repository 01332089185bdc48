"""The examples of docs/client.md, one after the other as pasted: they print what they say."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator

import pytest

from tests.clients.gateway import ROOT, Gateway

PAGE = (ROOT / "docs" / "client.md").read_text()
BLOCKS = re.findall(r"(?ms)^```python\n(.*?)^```$", PAGE)
# What a line that prints says that it prints.
PRINTED = re.compile(r"(?m)^ *print\(.*\)\s+# (.*)$")


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    one = Gateway(ROOT / "model_repo", tmp_path_factory.mktemp("example"))
    try:
        yield one.wait_ready()
    finally:
        one.finish()


def test_the_examples_print_what_they_say(example: Gateway) -> None:
    names: dict[str, object] = {}
    for block in BLOCKS:
        text = re.sub(r"(localhost|127\.0\.0\.1):8080", f"127.0.0.1:{example.http_port}", block)
        text = re.sub(r"(localhost|127\.0\.0\.1):8081", rf"\1:{example.grpc_port}", text)
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(text, "docs/client.md", "exec"), names)
        assert printed.getvalue().splitlines() == PRINTED.findall(block), block


def test_every_example_shows_something() -> None:
    assert len(BLOCKS) == 7
    assert all(PRINTED.search(block) for block in BLOCKS)


def test_every_error_and_option_is_on_the_page() -> None:
    import inspect

    import serving_client

    for name in serving_client.__all__:
        assert not name.endswith("Error") or f"`{name}`" in PAGE, name
    for name in list(inspect.signature(serving_client.Client).parameters)[1:]:
        assert f"\n| `{name}` |" in PAGE, name
