"""The pages in a real Chromium, at 1280 and at 400 pixels, with and without JavaScript."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django_otp.oath import hotp
from pytest_django.live_server_helper import LiveServer
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from accounts.models import Role, User
from accounts.models.second_factor import PERIOD, key_of
from cases import services, tasks
from cases.models import Case
from cases.tests.api.cast import PASSWORD, person
from cases.tests.cast import a_case, receive
from cases.tests.pages.people import HOSTILE

_CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
_DRIVER = shutil.which("chromedriver")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not _CHROMIUM or not _DRIVER, reason="chromium or chromedriver is not installed"),
]

_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
)
#: What a browser says of its own accord about an answer that is a refusal, as it should be.
_REFUSALS = ("status of 400", "status of 404", "status of 503")


class Browser:
    """Chromium, and the address of the site it looks at."""

    def __init__(self, home: Path, *, scripts: bool = True) -> None:
        options = webdriver.ChromeOptions()
        for flag in (*_FLAGS, f"--user-data-dir={home / 'profile'}"):
            options.add_argument(flag)
        preferences: dict[str, Any] = {"download.default_directory": str(home / "downloads")}
        if not scripts:
            preferences["profile.managed_default_content_settings.javascript"] = 2
        options.add_experimental_option("prefs", preferences)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        options.binary_location = _CHROMIUM or ""
        self.driver = webdriver.Chrome(options=options, service=Service(_DRIVER))
        self.downloads = home / "downloads"
        self.address = ""

    def open(self, path: str) -> None:
        """Go to a page of the site."""
        self.driver.get(self.address + path)

    def resize(self, width: int) -> None:
        """Make the page so wide, whatever the smallest window is."""
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def one(self, css: str) -> WebElement:
        """Return the first such element; there must be one."""
        return self.driver.find_element(By.CSS_SELECTOR, css)

    def all(self, css: str) -> list[WebElement]:
        """Return all such elements."""
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def follow(self, element: WebElement) -> None:
        """Click what leads to another page, and wait until it is there."""
        before = self.one("html").id
        element.click()
        _until(lambda: self.one("html").id != before)
        _until(lambda: self.driver.execute_cdp_cmd(*_READY)["result"]["value"] == "complete")

    def sign_in(self, email: str) -> None:
        """Sign in by the page for it."""
        self.open("/login/")
        self.one("#id_username").send_keys(email)
        self.one("#id_password").send_keys(PASSWORD)
        self.follow(self.one(".go"))

    def enrol(self) -> str:
        """Set up the second factor that the page asks for, and go on; return its secret."""
        self.follow(self.one(".part .go"))
        secret = self.one("code.secret").text
        self.one("#id_code").send_keys(code_of(secret))
        self.follow(self.one(".fields .go"))
        self.follow(self.one(".part .go"))
        return secret

    def search(self, query: str) -> None:
        """Type a query and press the button."""
        box = self.one("#q")
        box.clear()
        box.send_keys(query)
        self.follow(self.one(".search .go"))

    def times(self) -> list[str]:
        """Return the times of the rows."""
        return [cell.text for cell in self.all("td.time")]

    def is_too_wide(self) -> bool:
        """Whether the page scrolls sideways."""
        width = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
        asked = self.driver.execute_cdp_cmd("Runtime.evaluate", {"expression": width})
        return bool(asked["result"]["value"])

    def complains(self) -> list[str]:
        """Return what stands on the console: errors of scripts, of loading, of the policy."""
        said = [entry["message"] for entry in self.driver.get_log("browser")]  # type: ignore[no-untyped-call]
        return [message for message in said if not any(refusal in message for refusal in _REFUSALS)]


def code_of(secret: str, *, ahead: int = 0) -> str:
    """Return what an app shows for a secret, now or so many half minutes later."""
    return f"{hotp(key_of(secret), int(time.time() // PERIOD) + ahead):06d}"


_READY = ("Runtime.evaluate", {"expression": "document.readyState"})


def _until(what: Any, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            if what():
                return
        except WebDriverException:  # the page is not there yet
            if time.monotonic() > deadline:
                raise
        if time.monotonic() > deadline:
            raise AssertionError("it did not happen in time")
        time.sleep(0.02)


@pytest.fixture
def case() -> Case:
    """A case of 60 events over 60 hours, one of them hostile, read by the real path."""
    case = a_case("ir-2024-001")
    person("ada", role=Role.ADMIN)
    services.add_member(case=case, user=person("bob"), role="reader", by=None)
    lines = [
        {
            "timestamp": f"2024-03-{1 + hour // 24:02}T{hour % 24:02}:00:00Z",
            "message": f"logon number {hour:02} of alice",
            "host": "ws-1" if hour % 2 else "web-01",
            "EventID": 4624 if hour % 3 else 4625,
        }
        for hour in range(59)
    ]
    hostile = "<img src=x onerror=document.title='owned'><script>document.title='owned'</script>"
    lines.append({"timestamp": "2024-03-04T00:00:00Z", "message": f"{hostile} {HOSTILE}", hostile: hostile})
    receive(case, b"\n".join(json.dumps(line).encode() for line in lines), HOSTILE)
    assert tasks.work(once=True) == 1
    return case


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all tests: it takes a second to start."""
    opened = Browser(tmp_path_factory.mktemp("chromium"))
    yield opened
    opened.driver.quit()


@pytest.fixture
def browser(chromium: Browser, case: Case, live_server: LiveServer) -> Iterator[Browser]:
    """A browser in which nobody is signed in, and which must have nothing to complain about."""
    chromium.address = live_server.url
    chromium.driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
    chromium.complains()
    yield chromium
    assert chromium.complains() == []
    chromium.driver.get("about:blank")


def test_an_investigation_from_the_door_to_the_bytes(browser: Browser) -> None:
    browser.resize(1280)
    browser.sign_in("bob@example.org")
    browser.follow(browser.one("a.case"))
    assert "60 events" in browser.one(".total").text
    assert len(browser.times()) == 50
    assert not browser.is_too_wide()
    counts, rows = browser.one(".choices .count").rect, browser.one("table.events").rect
    assert counts["x"] + counts["width"] < rows["x"]

    browser.follow(browser.one("a[rel=next]"))
    assert browser.times()[-1] == "2024-03-01 00:00:00"
    assert len(browser.times()) == 10

    browser.search("logon AND (alice OR")
    assert browser.one(".place").text.startswith("logon AND (alice OR")
    assert "Character 20" in browser.one("#refused").text
    assert browser.one("#q").get_attribute("aria-invalid") == "true"

    browser.search("EventID:4625 AND alice")
    assert "20 events" in browser.one(".total").text
    assert browser.one("td.message mark").text == "alice"

    bar = browser.all(".dm-histogram a")[3]
    assert bar.get_attribute("aria-label") == "2024-03-01 09:00 UTC, one hour: 1 event"
    browser.follow(bar.find_element(By.CSS_SELECTOR, ".dm-bar"))
    assert browser.times() == ["2024-03-01 09:00:00"]

    browser.follow(browser.one("td.time a"))
    assert "logon number 09 of alice" in browser.one(".whole").text
    _save_source_and_come_back(browser)
    browser.follow(browser.one('[title="Only events with this value"]'))
    assert "1 event" in browser.one(".total").text


def _save_source_and_come_back(browser: Browser) -> None:
    event = browser.driver.current_url
    browser.follow(next(link for link in browser.all(".doors a") if link.text == "Source record"))
    shown = browser.one("pre.bytes").text
    assert json.loads(shown)["message"] == "logon number 09 of alice"
    browser.one("a[download]").click()
    _until(lambda: [path.read_text() for path in browser.downloads.glob("*") if path.suffix != ".crdownload"])
    [saved] = browser.downloads.glob("*")
    assert saved.read_text() == shown
    saved.unlink()
    browser.driver.get(event)


def test_an_export_is_saved_as_a_file(browser: Browser) -> None:
    browser.sign_in("bob@example.org")
    browser.open("/cases/ir-2024-001/timeline/?q=EventID:4625")
    browser.all(".export a")[0].click()
    _until(lambda: [path for path in browser.downloads.glob("*") if path.suffix == ".jsonl"])
    [saved] = browser.downloads.glob("*.jsonl")
    events = [json.loads(line) for line in saved.read_text().splitlines()]
    assert len(events) == 20
    assert {event["attributes"]["EventID"] for event in events} == {4625}


@pytest.mark.parametrize("width", [400, 1280])
def test_no_page_scrolls_sideways_and_nothing_in_evidence_runs(browser: Browser, width: int) -> None:
    browser.resize(width)
    browser.open("/login/")
    assert not browser.is_too_wide()
    browser.sign_in("bob@example.org")
    timeline = "/cases/ir-2024-001/timeline/"
    browser.open(timeline)
    event = browser.one("td.time a").get_attribute("href") or ""
    path = event.removeprefix(browser.address)
    wide = "?q=" + "x" * 300
    for address in (
        "/",
        timeline,
        timeline + wide,
        f"{timeline}?q=((",
        path,
        f"{path}source/",
        "/cases/none/",
    ):
        browser.open(address)
        assert not browser.is_too_wide(), address
        assert browser.driver.title != "owned", address
        assert browser.all("script") == [], address
    browser.open(timeline)
    assert "U+202E" in browser.one("td.message").text
    assert "<script>" in browser.one("td.message").text


def test_the_keyboard_reaches_the_bars(browser: Browser) -> None:
    browser.sign_in("bob@example.org")
    browser.open("/cases/ir-2024-001/timeline/?q=alice&to=2024-03-01")
    browser.driver.execute_script("document.querySelector('.dm-histogram a').focus()")
    before = browser.one("html").id
    browser.driver.switch_to.active_element.send_keys(Keys.ENTER)
    _until(lambda: browser.one("html").id != before)
    assert browser.times() == ["2024-03-01 00:00:00"]


def test_everything_works_without_javascript(case: Case, live_server: LiveServer, tmp_path: Path) -> None:
    browser = Browser(tmp_path, scripts=False)
    browser.address = live_server.url
    try:
        browser.sign_in("bob@example.org")
        browser.follow(browser.one("a.case"))
        browser.search("EventID:4624")
        assert "39 events" in browser.one(".total").text
        browser.follow(browser.all(".choices a")[1])
        browser.follow(browser.one("td.time a"))
        assert "logon number" in browser.one(".whole").text
    finally:
        browser.driver.quit()


@pytest.mark.parametrize("width", [400, 1280])
def test_the_admin_shows_a_case_with_its_picture(browser: Browser, case: Case, width: int) -> None:
    browser.resize(width)
    browser.sign_in("ada@example.org")
    browser.open(f"/admin/cases/case/{case.pk}/change/")
    browser.enrol()
    assert len(browser.all(".dm-bar")) == 60
    picture = browser.one(".dm-histogram svg").rect
    assert picture["width"] > width / 3
    assert picture["height"] > 50
    assert "60 in all" in browser.one("#dm-newest").text
    assert not browser.is_too_wide()
    assert User.objects.get(username="ada").last_login is not None
    browser.follow(browser.one('button[value="close"]'))
    case.refresh_from_db()
    assert case.is_closed
    for section in ("case", "evidence", "taskrun", "custodyentry"):
        browser.open(f"/admin/cases/{section}/")
        assert not browser.is_too_wide()
