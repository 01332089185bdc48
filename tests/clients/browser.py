"""A real browser, as Debian ships it, that tests drive: Chromium, by selenium."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

WAIT_S = 20.0
MISSING = "chromium and chromium-driver are not installed (Debian's packages of these names)"


def is_there() -> bool:
    return bool(shutil.which("chromium") and shutil.which("chromedriver"))


class Browser:
    """One window. Everything that it says on its console is noted."""

    def __init__(self, folder: Path, width: int = 1200, height: int = 900) -> None:
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service

        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium") or ""
        for flag in (
            "--headless=new",
            # Tests run as root in containers, and ask nobody but this machine.
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--no-first-run",
            "--no-proxy-server",
            f"--user-data-dir={folder}",
            f"--window-size={width},{height}",
        ):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        service = Service(shutil.which("chromedriver"))
        self.driver = webdriver.Chrome(options=options, service=service)
        self.driver.set_page_load_timeout(WAIT_S)

    def close(self) -> None:
        self.driver.quit()

    def open(self, address: str) -> None:
        self.driver.get(address)

    def script(self, text: str, *arguments: object) -> Any:
        return self.driver.execute_script(text, *arguments)

    def all(self, selector: str) -> list[Any]:
        return list(self.driver.find_elements("css selector", selector))

    def text(self, selector: str = "main") -> str:
        """Asked in one step: what is drawn anew meanwhile does not matter."""
        return str(
            self.script(
                "return [...document.querySelectorAll(arguments[0])]"
                ".map((one) => one.innerText).join('\\n')",
                selector,
            )
        )

    def until(self, true: Callable[[], Any], what: str, timeout: float = WAIT_S) -> Any:
        deadline = time.monotonic() + timeout
        while not (found := true()):
            assert time.monotonic() < deadline, f"{what}: {self.text('body')[:3000]}"
            time.sleep(0.05)
        return found

    def shows(self, words: str, selector: str = "main", timeout: float = WAIT_S) -> None:
        self.until(lambda: words in self.text(selector), f"'{words}' is shown", timeout)

    def click(self, selector: str, timeout: float = WAIT_S) -> None:
        """What the selector finds first, once it is there and can be used."""
        self.until(
            lambda: self.script(
                "const one = document.querySelector(arguments[0]);"
                "if (!one || one.disabled) return false; one.click(); return true",
                selector,
            ),
            f"{selector} can be clicked",
            timeout,
        )

    def fill(self, selector: str, text: str) -> None:
        """As somebody types it, in one step."""
        self.script(
            "const one = document.querySelector(arguments[0]); one.value = arguments[1];"
            "one.dispatchEvent(new Event('input', {bubbles: true}))",
            selector,
            text,
        )

    def said(self) -> list[str]:
        """What came on its console since the last time: errors and warnings."""
        return [
            f"{one['level']}: {one['message']}"
            for one in self.driver.get_log("browser")
            if one["level"] in ("SEVERE", "WARNING")
        ]

    def picture(self, path: Path) -> None:
        self.driver.save_screenshot(str(path))
