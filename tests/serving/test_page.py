"""The page in a real browser: drawing, choosing a file, filling in a row, dark and light, narrow and by keyboard."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.browser import NO_BROWSER, chromium
from tests.serving.bundles import DIGITS, HOUSES, IRIS, weights, write
from tests.serving.conftest import Served, serve

pytestmark = NO_BROWSER


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with chromium(tmp_path_factory.mktemp("browser")) as driver:
        yield driver


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("pictures")
    with serve(write(home / "champion", weights(DIGITS)), home / "bentoml", TANDEM_WORKERS="1") as running:
        yield running


def browser_errors(browser: Chrome) -> list[dict[str, str]]:
    """Entries in the browser's log since the last call."""
    found: list[dict[str, str]] = browser.get_log("browser")  # type: ignore[no-untyped-call]
    return found


def text(browser: Chrome, name: str) -> str:
    return browser.find_element(By.ID, name).text


def wait_for_answer(browser: Chrome, part: str = "%") -> str:
    WebDriverWait(browser, 10).until(lambda driver: part in text(driver, "answer"))
    return text(browser, "answer")


def check_no_errors(browser: Chrome) -> None:
    """Neither the page nor the browser (scripts, policy, missing files) reports an error."""
    assert text(browser, "error") == ""
    assert browser_errors(browser) == []


def test_drawing_by_pointer_and_by_keyboard(browser: Chrome, pictures: Served) -> None:
    browser.get(pictures.url)
    WebDriverWait(browser, 10).until(lambda driver: driver.find_element(By.ID, "canvas").is_displayed())
    canvas = browser.find_element(By.ID, "canvas")
    ActionChains(browser).move_to_element(canvas).click_and_hold().move_by_offset(40, 60).release().perform()
    wait_for_answer(browser)
    assert len(browser.find_elements(By.CSS_SELECTOR, "#bars li")) == 10
    assert text(browser, "size") == "8 × 8 × 1"
    assert "version 1" in text(browser, "model")
    assert "queue" in text(browser, "timing")
    browser.find_element(By.ID, "clear").click()
    assert "No prediction" in text(browser, "answer")
    canvas.send_keys(" ", Keys.ARROW_DOWN, Keys.ARROW_DOWN, " ")
    wait_for_answer(browser)
    check_no_errors(browser)


def test_the_model_reads_exactly_the_pixels_of_the_file(browser: Chrome, pictures: Served, tmp_path: Path) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (8, 8), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    browser.get(pictures.url)
    WebDriverWait(browser, 10).until(lambda driver: driver.find_element(By.ID, "canvas").is_displayed())
    browser.find_element(By.ID, "file").send_keys(str(tmp_path / "picture.png"))
    answer = wait_for_answer(browser)
    expected = weights(DIGITS).expected(pixels[np.newaxis, ..., np.newaxis])[0]
    assert answer == f"{expected.argmax()} ({100 * expected.max():.1f}%)"
    script = "return [...document.getElementById('pixels').getContext('2d').getImageData(0, 0, 8, 8).data]"
    seen = np.array(browser.execute_script(script)).reshape(8, 8, 4)
    np.testing.assert_array_equal(seen[..., 0], pixels)
    check_no_errors(browser)


def test_a_bad_file_is_rejected_with_a_message(browser: Chrome, pictures: Served, tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(b"no picture at all")
    browser.get(pictures.url)
    WebDriverWait(browser, 10).until(lambda driver: driver.find_element(By.ID, "canvas").is_displayed())
    browser.find_element(By.ID, "file").send_keys(str(tmp_path / "picture.png"))
    WebDriverWait(browser, 10).until(lambda driver: "found text" in text(driver, "error"))
    browser_errors(browser)


def test_a_row_and_a_key(browser: Chrome, tmp_path: Path) -> None:
    folder = write(tmp_path / "champion", weights(IRIS))
    with serve(folder, tmp_path / "home", TANDEM_WORKERS="1", TANDEM_API_KEY="secret") as served:
        browser.get(served.url)
        key = browser.find_element(By.CSS_SELECTOR, "#key input")
        WebDriverWait(browser, 10).until(lambda _: key.is_displayed())
        key.send_keys("secret" + Keys.ENTER)
        first = wait_for_answer(browser)
        fields = browser.find_elements(By.CSS_SELECTOR, "#row input")
        assert [field.get_attribute("name") for field in fields] == list(IRIS.features)
        fields[2].clear()
        fields[2].send_keys("9.5")
        WebDriverWait(browser, 10).until(lambda driver: text(driver, "answer") != first)
        browser_errors(browser)


def test_a_row_with_categories_and_missing_values(browser: Chrome, tmp_path: Path) -> None:
    folder = write(tmp_path / "champion", weights(HOUSES))
    with serve(folder, tmp_path / "home", TANDEM_WORKERS="1") as served:
        browser.get(served.url)
        first = wait_for_answer(browser, "price:")
        size, colour, _ = browser.find_elements(By.CSS_SELECTOR, "#row input, #row select")
        options = colour.find_elements(By.TAG_NAME, "option")
        assert [option.text for option in options] == ["blue", "green", "red", "(missing)"]
        options[2].click()
        WebDriverWait(browser, 10).until(lambda driver: text(driver, "answer") != first)
        red = text(browser, "answer")
        options[3].click()
        size.clear()
        WebDriverWait(browser, 10).until(lambda driver: text(driver, "answer") not in (first, red))
        check_no_errors(browser)


def test_category_names_keep_their_spaces(browser: Chrome, tmp_path: Path) -> None:
    """A page shows two spaces as one; for the model they are different categories."""
    spec = replace(HOUSES, categories=((), ("dark red", "dark  red", "red"), HOUSES.categories[2]))
    with serve(write(tmp_path / "champion", weights(spec)), tmp_path / "home", TANDEM_WORKERS="1") as served:
        browser.get(served.url)
        first = wait_for_answer(browser, "price:")
        _, colour, _ = browser.find_elements(By.CSS_SELECTOR, "#row input, #row select")
        colour.find_elements(By.TAG_NAME, "option")[1].click()
        WebDriverWait(browser, 10).until(lambda driver: text(driver, "answer") != first)
        expected = weights(spec).expected(np.array([[100, 1, 0]], np.float32))[0, 0]
        assert float(text(browser, "answer").split(":")[1]) == pytest.approx(expected, rel=1e-5)
        check_no_errors(browser)


def test_occlusion_maps_of_large_images_take_several_requests(browser: Chrome, tmp_path: Path) -> None:
    spec = replace(DIGITS, shape=(128, 128, 3), mean=(9.0,) * 3, std=(1.0,) * 3)
    with serve(write(tmp_path / "champion", weights(spec)), tmp_path / "home", TANDEM_WORKERS="1") as served:
        browser.get(served.url)
        WebDriverWait(browser, 10).until(lambda driver: driver.find_element(By.ID, "canvas").is_displayed())
        browser.find_element(By.ID, "canvas").send_keys(" ", Keys.ARROW_DOWN, " ")
        wait_for_answer(browser)
        WebDriverWait(browser, 20).until(
            lambda driver: driver.execute_script("return document.getElementById('occlusion').width") == 128
        )
        check_no_errors(browser)


def test_layer_outputs_are_loaded_on_demand(browser: Chrome, pictures: Served) -> None:
    browser.get(pictures.url)
    WebDriverWait(browser, 10).until(lambda driver: driver.find_element(By.ID, "canvas").is_displayed())
    assert not browser.find_element(By.ID, "layer-section").is_displayed()
    canvas = browser.find_element(By.ID, "canvas")
    canvas.send_keys(" ", Keys.ARROW_DOWN, Keys.ARROW_DOWN, " ")
    wait_for_answer(browser)
    assert browser.find_elements(By.CSS_SELECTOR, "#layers li") == []
    browser.find_element(By.CSS_SELECTOR, "#layer-details summary").send_keys(Keys.ENTER)
    WebDriverWait(browser, 10).until(lambda driver: driver.find_elements(By.CSS_SELECTOR, "#layers li"))
    (layer,) = browser.find_elements(By.CSS_SELECTOR, "#layers li")
    assert layer.text.startswith("logits\n10 ·")
    script = "const c = document.querySelector('#layers canvas'); return [c.width, c.height, c.ariaLabel]"
    assert browser.execute_script(script) == [5, 2, "Values of logits"]
    check_no_errors(browser)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_cut_off_on_a_phone(browser: Chrome, pictures: Served, scheme: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    phone = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    browser.get(pictures.url)
    WebDriverWait(browser, 10).until(lambda driver: driver.find_element(By.ID, "canvas").is_displayed())
    wide = browser.execute_script("return document.documentElement.scrollWidth")
    ground = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert wide <= 360
    assert (ground == "rgb(18, 19, 23)") == (scheme == "dark")


def test_the_documentation_page(browser: Chrome, pictures: Served) -> None:
    browser.get(f"{pictures.url}/docs")
    WebDriverWait(browser, 20).until(lambda driver: driver.find_elements(By.ID, "operations-Prediction-predict"))
    assert [line for line in browser_errors(browser) if line["level"] == "SEVERE"] == []
