# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What tests ask of a page in a real browser."""

from __future__ import annotations

import typing as t

from selenium.webdriver import ActionChains, Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

SECONDS = 20  # nothing takes as long; a test that waits for it has failed

_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-sync",
    "--no-proxy-server",
)

# Of a group of radio buttons only the chosen one is a stop.
_CONTROLS = """
const kinds = "a[href], button, input, select, textarea, audio[controls], summary, [tabindex='0']";
const all = document.querySelectorAll(kinds);
return [...all].filter((one) => !one.disabled && one.tabIndex >= 0 && one.checkVisibility({visibilityProperty: true})
  && !(one.type === "radio" && !one.checked));
"""


class Browser:
    """A headless Chromium, and questions to the page that it shows."""

    def __init__(self, driver: str, binary: str) -> None:
        options = ChromeOptions()
        options.binary_location = binary
        for flag in _FLAGS:
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.chrome = Chrome(options=options, service=ChromeService(executable_path=driver))

    def close(self) -> None:
        self.chrome.quit()

    def open(self, address: str, width: int = 1280, height: int = 900, scheme: str = "light") -> None:
        """Show a page as on a screen of that size, and forget what earlier ones said."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        self.chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        self.chrome.get("about:blank")
        self.complaints()
        self.chrome.get(address)

    def ask(self, script: str, *words: t.Any) -> t.Any:
        return self.chrome.execute_script(script, *words)

    def find(self, selector: str) -> WebElement:
        return self.chrome.find_element("css selector", selector)

    def find_all(self, selector: str) -> list[WebElement]:
        return self.chrome.find_elements("css selector", selector)

    def until(self, holds: t.Callable[[], t.Any], what: str) -> None:
        """Wait until something holds; fail with the page's words if it never does."""
        WebDriverWait(self.chrome, SECONDS, poll_frequency=0.05).until(
            lambda _driver: holds(), message=f"{what}; the page says: {self.text()}"
        )

    def until_said(self, words: str, selector: str = "body") -> None:
        self.until(lambda: words in self.find(selector).text, f"{words!r} never came")

    def text(self) -> str:
        return self.find("body").text

    def complaints(self) -> list[str]:
        """Return what the page wrote to the console as an error since the last time."""
        return [one["message"] for one in self.chrome.get_log("browser") if one["level"] == "SEVERE"]

    def overflow(self) -> int:
        """Return by how many pixels the page is wider than the screen."""
        return int(self.ask("const e = document.scrollingElement; return e.scrollWidth - e.clientWidth"))

    def controls(self) -> list[WebElement]:
        return t.cast("list[WebElement]", self.ask(_CONTROLS))

    def press(self, *keys: str) -> None:
        for key in keys:
            ActionChains(self.chrome, duration=0).send_keys(key).perform()

    def not_reached_by_tab(self) -> list[str]:
        """Return the controls that the Tab key does not come to, from the top of the page."""
        controls = self.controls()
        self.ask("document.activeElement.blur(); window.reached = new Set();"
                 "document.addEventListener('focusin', (e) => reached.add(e.target))")  # fmt: skip
        for _stop in range(3 * len(controls) + 20):  # a player has several stops within
            self.press(Keys.TAB)
        missed = [one for one in controls if not self.ask("return reached.has(arguments[0])", one)]
        return [str(one.get_attribute("outerHTML"))[:120] for one in missed]

    def without_a_name(self) -> list[str]:
        """Return the controls of which a screen reader cannot say what they are."""
        unnamed = [one for one in self.controls() if one.tag_name != "audio" and not one.accessible_name.strip()]
        return [str(one.get_attribute("outerHTML"))[:120] for one in unnamed]
