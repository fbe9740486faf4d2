# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One browser for all tests: each opens its own page."""

from __future__ import annotations

import shutil
import typing as t

import pytest

from ansible_collections.emorobcare.fleet.tests.browser._browser import Browser


@pytest.fixture(name="browser", scope="session")
def browser_fixture() -> t.Iterator[Browser]:
    driver, binary = shutil.which("chromedriver"), shutil.which("chromium")
    if driver is None or binary is None:
        pytest.fail("there is no chromium or no chromedriver; apt-get install chromium chromium-driver")
    browser = Browser(driver, binary)
    try:
        yield browser
    finally:
        browser.close()
