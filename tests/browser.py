"""A real browser without a window, and axe-core's check of a page in it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

FLAGS = "headless no-sandbox disable-gpu no-first-run disable-sync disable-background-networking"
NO_BROWSER = pytest.mark.skipif(
    not (shutil.which("chromium") and shutil.which("chromedriver")), reason="no Chromium with its driver"
)


@contextmanager
def chromium(folder: Path, *flags: str) -> Iterator[Chrome]:
    """Chromium with its profile in `folder` and more `flags`."""
    options = ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for flag in (*FLAGS.split(), "disable-component-update", f"user-data-dir={folder}", *flags):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options, Service(shutil.which("chromedriver")))
    driver.set_script_timeout(120)  # for axe-core on a busy machine; 30 s otherwise
    try:
        yield driver
    finally:
        driver.quit()


def emulate(driver: Chrome, width: int, **media: str) -> None:
    """A screen of this width, and media features such as `prefers_color_scheme="dark"`."""
    features = [{"name": name.replace("_", "-"), "value": value} for name, value in media.items()]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    screen = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)


def serious_violations(driver: Chrome) -> list[str]:
    """Violations of accessibility rules in the open page that axe-core calls serious or critical: rule and element."""
    driver.execute_script((resources.files("axe_playwright_python") / "axe.min.js").read_text("utf-8"))
    found = driver.execute_async_script("axe.run().then(arguments[0])")["violations"]
    serious = [rule for rule in found if rule["impact"] in ("serious", "critical")]
    return [f"{rule['id']}: {node['html']}" for rule in serious for node in rule["nodes"]]
