"""The pages in a real browser: predictions, rejections, the key, four widths, dark and light, and by keyboard."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from tests.browser import NO_BROWSER, chromium, emulate, serious_violations
from tests.serving.bundles import DIGITS, HOUSES, IRIS, PRICES, Weights, raw, weights, write
from tests.serving.conftest import PATIENCE, Served, serve, wait_for

pytestmark = NO_BROWSER

WIDTHS = (1280, 768, 390, 320)
METRICS = {
    "test/accuracy": 0.9741, "test/accuracy_low": 0.9475, "test/accuracy_high": 0.9874, "test/top_3_accuracy": 1.0,
    "test/log_loss": 0.0912, "test/calibration_error": 0.0479, "validation/accuracy": 0.9888,
    "latency/batch_32/p99_ms": 8.66386, "latency/batch_32/examples_per_second": 25535, "model/bytes": 214204,
}  # fmt: skip
# Of every element that has the focus in turn: its id or its text, and whether it is seen to have it.
FOCUSED = """
const focused = document.activeElement;
const seen = getComputedStyle(focused.matches('input[type=file]') ? focused.parentElement : focused);
return [focused.id || focused.textContent.trim(), seen.outlineStyle !== 'none' && parseFloat(seen.outlineWidth) >= 2];
"""
# The texts of selected options that are wider than their controls.
CUT_OFF = """
return [...document.querySelectorAll('select')].filter((select) => {
    const style = select.getAttribute('style') ?? '';
    const width = select.offsetWidth;
    select.style.cssText = 'width: max-content !important; min-width: 0 !important; max-width: none !important';
    const needed = select.offsetWidth;
    select.style.cssText = style;
    return needed > width;
}).map((select) => select.value);
"""


# The occlusion map of an image of so many bytes whose label loses all probability whatever is covered.
NO_PROBABILITY = """
const [bytes, labels, done] = arguments;
window.fetch = async (_, {body, headers}) => {
    const images = (body.size - Number(headers['inference-header-content-length'])) / bytes;
    return new Response(new Float32Array(images * labels), {headers: {'inference-header-content-length': '0'}});
};
import('./occlusion.js').then(({lossMap}) => lossMap(new Uint8Array(bytes), 0, 1, () => true))
    .then((loss) => done([...loss]), (error) => done(String(error)));
"""


@pytest.fixture(scope="module")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with chromium(tmp_path_factory.mktemp("browser")) as driver:
        yield driver


@pytest.fixture
def browser(chrome: Chrome) -> Iterator[Chrome]:
    emulate(chrome, 1280)
    yield chrome
    browser_errors(chrome)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("pictures")
    folder = write(home / "champion", weights(DIGITS), metrics=METRICS)
    with serve(folder, home / "bentoml", TANDEM_WORKERS="1", TANDEM_POLL_SECONDS="0.05") as running:
        yield running


@pytest.fixture
def replaced(pictures: Served) -> Iterator[Callable[..., Served]]:
    """Serves another champion in place of that of `pictures` until the test has ended."""
    folder = pictures.output.parents[1] / "champion"

    def replace_champion(of: Weights, version: str = "2", **changes: Any) -> Served:
        write(folder, of, version, **changes)
        wait_for(lambda: httpx.get(f"{pictures.url}/model").json()["version"] == version)
        return pictures

    yield replace_champion
    replace_champion(weights(DIGITS), "1", metrics=METRICS)


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A table behind an API key."""
    home = tmp_path_factory.mktemp("locked")
    folder = write(home / "champion", weights(IRIS), metrics=METRICS)
    with serve(folder, home / "bentoml", TANDEM_WORKERS="1", TANDEM_API_KEY="secret") as running:
        yield running


def browser_errors(browser: Chrome) -> list[dict[str, str]]:
    """Entries in the browser's log since the last call."""
    found: list[dict[str, str]] = browser.get_log("browser")  # type: ignore[no-untyped-call]
    return found


def element(browser: Chrome, name: str) -> WebElement:
    return browser.find_element(By.ID, name)


def text(browser: Chrome, name: str) -> str:
    """What is shown in an element, on one line."""
    return " ".join(element(browser, name).text.split())


def wait(browser: Chrome, condition: Any) -> Any:
    return WebDriverWait(browser, PATIENCE, poll_frequency=0.05).until(condition)


def open_page(browser: Chrome, served: Served, shown: str = "canvas") -> None:
    """The page, once the element `shown` is."""
    browser.get(served.url)
    wait(browser, lambda driver: element(driver, shown).is_displayed())


def unlock(browser: Chrome, served: Served, path: str = "/") -> None:
    """The page of a service with a key, opened without one, after the key is entered."""
    browser.get(served.url)
    browser.execute_script("sessionStorage.clear()")
    browser.get(served.url + path)
    wait(browser, lambda driver: element(driver, "key-input").is_displayed())
    element(browser, "key-input").send_keys("secret" + Keys.ENTER)


def wait_for_answer(browser: Chrome, part: str = "%") -> str:
    wait(browser, lambda driver: part in text(driver, "answer"))
    return text(browser, "answer")


def wait_for_another(browser: Chrome, *earlier: str) -> str:
    wait(browser, lambda driver: text(driver, "answer") not in ("", *earlier))
    return text(browser, "answer")


def check_no_errors(browser: Chrome) -> None:
    """Neither the page nor the browser (scripts, policy, missing files) reports an error."""
    assert text(browser, "error") == ""
    assert browser_errors(browser) == []


def check_layout(browser: Chrome) -> None:
    """Nothing is wider than the screen or than the control it is in, and axe-core reports nothing serious."""
    script = "const page = document.documentElement; return page.scrollWidth - page.clientWidth"  # without a scroll bar
    assert browser.execute_script(script) <= 0
    assert browser.execute_script(CUT_OFF) == []
    assert serious_violations(browser) == []


# ── the model ────────────────────────────────────────────────────────────────────────────────────


def test_four_facts_and_the_rest_in_closed_groups(browser: Chrome, pictures: Served) -> None:
    open_page(browser, pictures)
    facts = [fact.text.split("\n") for fact in browser.find_elements(By.CSS_SELECTOR, "#facts > div")]
    assert [fact[:2] for fact in facts] == [
        ["Data", "digits"], ["Test accuracy", "97.4%"], ["Version", "1"], ["Commit", "f626b23"],
    ]  # fmt: skip
    assert facts[1][2] == "interval 94.8% to 98.7%"
    groups = browser.find_elements(By.CSS_SELECTOR, "#details details")
    assert [group.text for group in groups] == ["Test split", "Validation split", "Speed", "Model", "Origin"]
    rows = browser.execute_script(
        "return Object.fromEntries([...document.querySelectorAll('#details dl > div')]"
        ".map((row) => [row.children[0].textContent, row.children[1].textContent]))"
    )
    expected = {
        "Top-3 accuracy": "100.0%", "Log loss": "0.0912 nats", "Calibration error": "4.8%",
        "Batch of 32, 99th percentile": "8.66 ms", "Batch of 32, throughput": "25,535 examples per second",
        "File size": "209 KiB", "Input": "image, uint8, 8 × 8 × 1", "Uncommitted changes": "no",
        "SHA-256 of the data": "ab" * 32,
    }  # fmt: skip
    assert expected.items() <= rows.items()
    check_no_errors(browser)


def test_a_regression_shows_its_error(browser: Chrome, replaced: Callable[..., Served]) -> None:
    metrics = {"test/mae": 43.21, "test/mae_low": 38.9, "test/mae_high": 47.3}
    open_page(browser, replaced(weights(PRICES), metrics=metrics), "table")
    answer = wait_for_answer(browser, "price")
    assert float(answer.split()[0]) == pytest.approx(weights(PRICES).expected(raw(PRICES, 3))[0, 0], rel=1e-4)
    assert "Test error 43.2 mean absolute, interval 38.9 to 47.3" in text(browser, "facts")
    assert browser.find_elements(By.CSS_SELECTOR, "#bars li") == []
    check_no_errors(browser)


# ── images ───────────────────────────────────────────────────────────────────────────────────────


def test_drawing_by_pointer_and_by_keyboard(browser: Chrome, pictures: Served) -> None:
    open_page(browser, pictures)
    canvas = element(browser, "canvas")
    ActionChains(browser).move_to_element(canvas).click_and_hold().move_by_offset(40, 60).release().perform()
    wait_for_answer(browser)
    assert len(browser.find_elements(By.CSS_SELECTOR, "#bars li")) == 10
    assert text(browser, "size") == "8 × 8 × 1"
    assert "queue" in text(browser, "timing")
    element(browser, "clear").click()
    assert "No prediction" in text(browser, "empty-text")
    assert not element(browser, "explanation").is_displayed()
    canvas.send_keys(" ", Keys.ARROW_DOWN, Keys.ARROW_DOWN, " ")
    wait_for_answer(browser)
    check_no_errors(browser)


def test_the_empty_page_offers_an_example(browser: Chrome, pictures: Served) -> None:
    open_page(browser, pictures)
    assert text(browser, "empty").startswith("No prediction yet.")
    example = raw(DIGITS, 3)[:1]
    element(browser, "example").click()
    expected = weights(DIGITS).expected(example)[0]
    assert wait_for_answer(browser) == f"{expected.argmax()} {100 * expected.max():.1f}%"
    np.testing.assert_array_equal(seen_pixels(browser), example[0, ..., 0])
    check_no_errors(browser)


def seen_pixels(browser: Chrome) -> np.ndarray:
    """The image that the page shows as the model's input, [8, 8]."""
    script = "return [...document.getElementById('pixels').getContext('2d').getImageData(0, 0, 8, 8).data]"
    return np.array(browser.execute_script(script)).reshape(8, 8, 4)[..., 0]


def test_the_model_reads_exactly_the_pixels_of_the_file(browser: Chrome, pictures: Served, tmp_path: Path) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (8, 8), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    open_page(browser, pictures)
    element(browser, "file").send_keys(str(tmp_path / "picture.png"))
    answer = wait_for_answer(browser)
    expected = weights(DIGITS).expected(pixels[np.newaxis, ..., np.newaxis])[0]
    assert answer == f"{expected.argmax()} {100 * expected.max():.1f}%"
    np.testing.assert_array_equal(seen_pixels(browser), pixels)
    check_no_errors(browser)


def test_a_rejected_file_replaces_the_answer_until_it_is_cleared(
    browser: Chrome, pictures: Served, tmp_path: Path
) -> None:
    (tmp_path / "picture.png").write_bytes(b"no picture at all")
    open_page(browser, pictures)
    element(browser, "example").click()
    wait_for_answer(browser)
    element(browser, "file").send_keys(str(tmp_path / "picture.png"))
    wait(browser, lambda driver: "found text" in text(driver, "error"))
    for name in ("predicted", "explanation", "retry"):
        assert not element(browser, name).is_displayed()
    element(browser, "clear").click()
    assert not element(browser, "rejected").is_displayed()
    assert text(browser, "empty").startswith("No prediction yet.")
    element(browser, "file").send_keys(str(tmp_path / "picture.png"))
    wait(browser, lambda driver: "found text" in text(driver, "error"))
    element(browser, "canvas").send_keys(" ", Keys.ARROW_DOWN, " ")
    wait_for_answer(browser)
    assert not element(browser, "rejected").is_displayed()


def test_a_service_that_cannot_be_reached(browser: Chrome, pictures: Served) -> None:
    open_page(browser, pictures)
    network = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    browser.execute_cdp_cmd("Network.enable", {})
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", network | {"offline": True})
    element(browser, "example").click()
    wait(browser, lambda driver: text(driver, "error") == "The service cannot be reached.")
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", network | {"offline": False})
    element(browser, "retry").send_keys(Keys.ENTER)
    wait_for_answer(browser)
    assert not element(browser, "rejected").is_displayed()
    assert browser.switch_to.active_element == element(browser, "result-title")


def test_the_focus_is_not_lost_once_the_model_is_loaded(browser: Chrome, pictures: Served) -> None:
    open_page(browser, pictures)
    browser.execute_script(
        "document.getElementById('failed').hidden = false; document.getElementById('ready').hidden = true"
    )
    element(browser, "reload").send_keys(Keys.ENTER)
    wait(browser, lambda driver: element(driver, "canvas").is_displayed())
    assert browser.switch_to.active_element == element(browser, "title")


def test_occlusion_maps_of_large_images_take_several_requests(browser: Chrome, replaced: Callable[..., Served]) -> None:
    labels = tuple(f"label {number}" for number in range(20))
    spec = replace(DIGITS, shape=(128, 128, 3), mean=(9.0,) * 3, std=(1.0,) * 3, labels=labels)
    open_page(browser, replaced(weights(spec)))
    assert element(browser, "colour").is_displayed()
    element(browser, "canvas").send_keys(" ", Keys.ARROW_DOWN, " ")
    wait_for_answer(browser)
    script = "return document.getElementById('occlusion').width"
    wait(browser, lambda driver: driver.execute_script(script) == 128)
    shares = [share.text for share in browser.find_elements(By.CSS_SELECTOR, "#bars .share")]
    assert shares == sorted(shares, key=lambda share: -float(share[:-1]))
    assert text(browser, "note") == f"The {len(shares)} most probable of 20 labels."
    check_no_errors(browser)


@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 3), (64, 64, 1), (8, 64, 1), (1, 9, 1)])
def test_each_pixel_is_covered_in_an_occlusion_map(
    browser: Chrome, replaced: Callable[..., Served], shape: tuple[int, ...]
) -> None:
    spec = replace(DIGITS, shape=shape, mean=(9.0,) * shape[2], std=(1.0,) * shape[2])
    open_page(browser, replaced(weights(spec)))
    loss = browser.execute_async_script(NO_PROBABILITY, int(np.prod(shape)), len(DIGITS.labels))
    assert loss == [1.0] * (shape[0] * shape[1])


def test_the_prediction_stays_without_an_occlusion_map(browser: Chrome, pictures: Served) -> None:
    """Its requests are rejected where the service is overloaded or the quota of a key is used up."""
    open_page(browser, pictures)
    browser.execute_cdp_cmd("Network.enable", {})
    browser.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["*/infer"]})
    element(browser, "example").click()
    answer = wait_for_answer(browser)
    wait(browser, lambda driver: text(driver, "occlusion-note").startswith("No occlusion map: The service cannot be"))
    assert not element(browser, "occlusion").is_displayed()
    assert not element(browser, "rejected").is_displayed()
    assert text(browser, "answer") == answer
    browser.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})
    element(browser, "clear").click()
    element(browser, "example").click()
    wait(browser, lambda driver: text(driver, "occlusion-note").startswith("Occlusion map: "))
    assert element(browser, "occlusion").is_displayed()


def test_layer_outputs_are_loaded_on_demand(browser: Chrome, pictures: Served) -> None:
    open_page(browser, pictures)
    assert not element(browser, "explanation").is_displayed()
    element(browser, "example").click()
    wait_for_answer(browser)
    assert browser.find_elements(By.CSS_SELECTOR, "#layers li") == []
    browser.find_element(By.CSS_SELECTOR, "#layer-details summary").send_keys(Keys.ENTER)
    wait(browser, lambda driver: driver.find_elements(By.CSS_SELECTOR, "#layers li"))
    (layer,) = browser.find_elements(By.CSS_SELECTOR, "#layers li")
    assert layer.text.startswith("logits\n10 ·")
    script = "const c = document.querySelector('#layers canvas'); return [c.width, c.height, c.ariaLabel]"
    assert browser.execute_script(script) == [5, 2, "Values of logits"]
    check_no_errors(browser)


def test_the_prediction_stays_without_layer_outputs(browser: Chrome, pictures: Served) -> None:
    """Their request is rejected where the service is overloaded."""
    open_page(browser, pictures)
    browser.execute_cdp_cmd("Network.enable", {})
    browser.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["*/activations"]})
    element(browser, "example").click()
    answer = wait_for_answer(browser)
    browser.find_element(By.CSS_SELECTOR, "#layer-details summary").send_keys(Keys.ENTER)
    error = "No layer outputs: The service cannot be reached."
    wait(browser, lambda driver: text(driver, "layers-error") == error)
    assert text(browser, "answer") == answer
    assert element(browser, "pixels").is_displayed()
    assert not element(browser, "layers").is_displayed()
    assert not element(browser, "rejected").is_displayed()
    check_layout(browser)
    browser.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})
    element(browser, "layers-retry").send_keys(Keys.ENTER)
    wait(browser, lambda driver: driver.find_elements(By.CSS_SELECTOR, "#layers li"))
    assert browser.switch_to.active_element == element(browser, "layers-summary")
    assert element(browser, "layers").is_displayed()
    assert not element(browser, "layers-rejected").is_displayed()


def test_an_error_of_layer_outputs_belongs_to_one_image(browser: Chrome, pictures: Served) -> None:
    """It offers no second attempt where that cannot help."""
    open_page(browser, pictures)
    browser.execute_script(
        "const real = fetch; window.fetch = (url, ...rest) => String(url).includes('activations')"
        ' ? Promise.resolve(new Response(\'{"error": "another model"}\', {status: 409})) : real(url, ...rest)'
    )
    element(browser, "example").click()
    wait_for_answer(browser)
    browser.find_element(By.CSS_SELECTOR, "#layer-details summary").send_keys(Keys.ENTER)
    wait(browser, lambda driver: text(driver, "layers-error") == "No layer outputs: another model")
    assert not element(browser, "layers-retry").is_displayed()
    element(browser, "clear").click()
    assert element(browser, "layers-rejected").get_attribute("hidden")


# ── tables ───────────────────────────────────────────────────────────────────────────────────────


def test_a_row_starts_as_the_example_and_rejects_an_empty_number(browser: Chrome, locked: Served) -> None:
    unlock(browser, locked)
    first = wait_for_answer(browser)
    fields = browser.find_elements(By.CSS_SELECTOR, "#row input")
    assert [field.get_attribute("data-column") for field in fields] == list(IRIS.features)
    example = raw(IRIS, 3)[0]
    assert [float(str(field.get_property("value"))) for field in fields] == pytest.approx(example.tolist(), rel=1e-5)
    fields[2].clear()
    fields[2].send_keys("9.5")
    wait_for_another(browser, first)
    fields[2].clear()
    wait(browser, lambda driver: text(driver, "empty") == "No prediction: enter a number for petal length.")
    assert fields[2].get_attribute("aria-invalid") == "true"
    element(browser, "reset").click()
    wait(browser, lambda driver: text(driver, "answer") == first)


def test_a_row_with_categories_and_missing_values(browser: Chrome, replaced: Callable[..., Served]) -> None:
    open_page(browser, replaced(weights(HOUSES)), "table")
    first = wait_for_answer(browser, "price")
    size, colour, _ = browser.find_elements(By.CSS_SELECTOR, "#row input, #row select")
    options = colour.find_elements(By.TAG_NAME, "option")
    assert [option.text for option in options] == ["blue", "green", "red", "(missing)"]
    options[2].click()
    red = wait_for_another(browser, first)
    options[3].click()
    size.clear()
    wait_for_another(browser, first, red)
    check_no_errors(browser)


def test_columns_with_names_of_a_forms_properties(browser: Chrome, replaced: Callable[..., Served]) -> None:
    spec = replace(HOUSES, features=("elements", "addEventListener", "__proto__"))
    open_page(browser, replaced(weights(spec)), "table")
    first = wait_for_answer(browser, "price")
    browser.find_elements(By.CSS_SELECTOR, "#row option")[2].click()
    wait_for_another(browser, first)
    check_no_errors(browser)


def test_category_names_keep_their_spaces(browser: Chrome, replaced: Callable[..., Served]) -> None:
    """A page shows two spaces as one; for the model they are different categories."""
    spec = replace(HOUSES, categories=((), ("dark red", "dark  red", "red"), HOUSES.categories[2]))
    open_page(browser, replaced(weights(spec)), "table")
    wait_for_answer(browser, "price")
    size, colour, sold = browser.find_elements(By.CSS_SELECTOR, "#row input, #row select")
    size.clear()
    size.send_keys("100")
    colour.find_elements(By.TAG_NAME, "option")[1].click()
    sold.find_elements(By.TAG_NAME, "option")[0].click()
    expected = weights(spec).expected(np.array([[100, 1, 0]], np.float32))[0, 0]
    wait(browser, lambda driver: float(text(driver, "answer").split()[0]) == pytest.approx(expected, rel=1e-5))
    check_no_errors(browser)


# ── the key ──────────────────────────────────────────────────────────────────────────────────────


def test_the_key_is_kept_for_the_session_and_can_be_changed(browser: Chrome, locked: Served) -> None:
    browser.get(locked.url)
    browser.execute_script("sessionStorage.clear()")
    open_page(browser, locked, "key-input")
    assert text(browser, "model") == "This service requires an API key."
    assert browser.switch_to.active_element == element(browser, "key-input")
    browser.switch_to.active_element.send_keys("wrong" + Keys.ENTER)
    wait(browser, lambda driver: text(driver, "key-error") == "The service does not accept this key.")
    element(browser, "key-input").send_keys("secret" + Keys.ENTER)
    wait_for_answer(browser)
    assert browser.switch_to.active_element == element(browser, "key-change")
    browser.get(locked.url)
    wait_for_answer(browser)
    assert not element(browser, "key").is_displayed()
    element(browser, "key-change").click()
    element(browser, "key-cancel").click()
    assert browser.switch_to.active_element == element(browser, "key-change")
    element(browser, "key-change").click()
    element(browser, "key-forget").click()
    wait(browser, lambda driver: element(driver, "key-input").is_displayed())
    assert browser.execute_script("return [sessionStorage.length, localStorage.length, document.cookie]") == [0, 0, ""]


def test_the_key_is_in_no_url(browser: Chrome, locked: Served) -> None:
    unlock(browser, locked)
    wait_for_answer(browser)
    script = "return [location.href, ...performance.getEntriesByType('resource').map((entry) => entry.name)]"
    urls = browser.execute_script(script)
    assert "secret" not in " ".join(urls)
    assert all(url.startswith(locked.url) for url in urls)
    assert "secret" not in locked.output.read_text("utf-8")


# ── widths, colours and keyboard ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_with_an_image(browser: Chrome, pictures: Served, width: int, scheme: str) -> None:
    emulate(browser, width, prefers_color_scheme=scheme)
    open_page(browser, pictures)
    assert browser.execute_script("return document.documentElement.scrollHeight") < 2000
    check_layout(browser)
    element(browser, "example").click()
    wait_for_answer(browser)
    script = "document.querySelectorAll('details').forEach((group) => { group.open = true; })"
    browser.execute_script(script)
    wait(browser, lambda driver: driver.find_elements(By.CSS_SELECTOR, "#layers li"))
    check_layout(browser)
    ground = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (max(map(int, re.findall(r"\d+", ground)[:3])) < 50) == (scheme == "dark")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_with_a_row_and_a_key(browser: Chrome, locked: Served, width: int, scheme: str) -> None:
    emulate(browser, width, prefers_color_scheme=scheme)
    browser.get(locked.url)
    browser.execute_script("sessionStorage.clear()")
    open_page(browser, locked, "key-input")
    check_layout(browser)
    element(browser, "key-input").send_keys("secret" + Keys.ENTER)
    wait_for_answer(browser)
    element(browser, "key-change").click()
    browser.find_element(By.CSS_SELECTOR, "#row input").clear()
    wait(browser, lambda driver: element(driver, "empty").is_displayed())
    check_layout(browser)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_the_api_reference(browser: Chrome, pictures: Served, width: int, scheme: str) -> None:
    emulate(browser, width, prefers_color_scheme=scheme)
    open_operation(browser, pictures, "operations-Prediction-predict", '"label": ')
    check_layout(browser)
    press(browser, ".try-out__btn")
    press(browser, ".btn.execute")
    wait(browser, lambda driver: driver.find_elements(By.CSS_SELECTOR, ".live-responses-table"))
    check_layout(browser)
    ground = browser.execute_script("return getComputedStyle(document.querySelector('.opblock')).backgroundColor")
    assert (max(map(int, re.findall(r"\d+", ground)[:3])) < 50) == (scheme == "dark")
    assert browser_errors(browser) == []


def press(browser: Chrome, selector: str) -> None:
    """Click on an element once it exists, in one step: Swagger UI replaces elements when a response arrives."""
    script = "const found = document.querySelector(arguments[0]); found?.click(); return Boolean(found)"
    wait(browser, lambda driver: driver.execute_script(script, selector))


def open_operation(browser: Chrome, served: Served, name: str, part: str) -> str:
    """The text of the example response of an operation of the API reference, once it is a real one that has `part`."""
    browser.get(f"{served.url}/docs")
    press(browser, f"#{name} .opblock-summary-control")
    script = "return document.querySelector(arguments[0])?.textContent ?? ''"
    example = f"#{name} .responses-table .scroller"

    def is_real(shown: str) -> bool:
        return part in shown and "additionalProp" not in shown  # of an example that is made from the schema

    wait(browser, lambda driver: is_real(driver.execute_script(script, example)))
    return str(browser.execute_script(script, example))


def test_keyboard_alone(browser: Chrome, pictures: Served) -> None:
    """Every control is reached in reading order and seen to have the focus; the result is announced."""
    open_page(browser, pictures)
    order = []
    for _ in range(14):
        type_keys(browser, Keys.TAB)
        name, is_seen = browser.execute_script(FOCUSED)
        assert is_seen, name
        order.append(name)
    groups = ["Test split", "Validation split", "Speed", "Model", "Origin"]
    assert order[:-2] == ["Tandem", "API reference", "canvas", "file", "clear", "example", *groups, "API reference"]
    element(browser, "canvas").send_keys(Keys.ARROW_UP)
    assert element(browser, "pen").is_displayed()
    type_keys(browser, " ")
    wait(browser, lambda driver: announced(driver) == "Pen down" or announced(driver).startswith("Prediction: "))
    type_keys(browser, Keys.ARROW_DOWN, Keys.ARROW_DOWN, " ")
    wait_for_answer(browser)
    wait(browser, lambda driver: announced(driver) in (f"Prediction: {text(driver, 'answer')}", "Pen up"))
    type_keys(browser, Keys.DELETE)
    assert text(browser, "empty").startswith("No prediction yet.")
    assert announced(browser) == ""
    element(browser, "example").send_keys(Keys.ENTER)
    wait(browser, lambda driver: announced(driver).startswith("Prediction: "))
    assert announced(browser) == f"Prediction: {text(browser, 'answer')}"
    assert browser.switch_to.active_element == element(browser, "clear")


def type_keys(browser: Chrome, *keys: str) -> None:
    """Press keys in whatever has the focus."""
    ActionChains(browser).send_keys(*keys).perform()


def announced(browser: Chrome) -> str:
    """What a screen reader is given."""
    return str(browser.execute_script("return document.querySelector('[role=status]#announcement').textContent"))


def test_reduced_motion(browser: Chrome, pictures: Served) -> None:
    durations = []
    for preference in ("no-preference", "reduce"):
        emulate(browser, 1280, prefers_reduced_motion=preference)
        open_page(browser, pictures)
        element(browser, "example").click()
        wait_for_answer(browser)
        script = "return getComputedStyle(document.querySelector('#bars .fill')).transitionDuration"
        durations.append(browser.execute_script(script))
    assert durations == ["0.12s", "0s"]


# ── API reference ────────────────────────────────────────────────────────────────────────────────


def test_the_api_reference_has_groups_examples_and_a_way_back(browser: Chrome, pictures: Served) -> None:
    name = "operations-Prediction-predict"
    shown = json.loads(open_operation(browser, pictures, name, '"label": '))
    expected = weights(DIGITS).expected(raw(DIGITS, 3)[:1])[0]
    assert shown["predictions"][0]["label"] == str(expected.argmax())
    np.testing.assert_allclose(shown["predictions"][0]["probability"], expected.max(), rtol=1e-4)
    image = json.loads(open_operation(browser, pictures, f"{name}_image", '"label": '))
    assert image["predictions"] == shown["predictions"]
    groups = [group.text for group in browser.find_elements(By.CSS_SELECTOR, ".opblock-tag")]
    assert groups[:2] == ["Prediction", "Model"]
    assert len(groups) == len(set(groups)) >= 4
    browser.find_element(By.LINK_TEXT, "Prediction page").click()
    wait(browser, lambda driver: element(driver, "canvas").is_displayed())
    assert [line for line in browser_errors(browser) if line["level"] == "SEVERE"] == []


def test_the_api_reference_asks_for_the_key(browser: Chrome, locked: Served) -> None:
    unlock(browser, locked, "/docs")
    wait(browser, lambda driver: "of iris" in text(driver, "about"))
    assert not element(browser, "key").is_displayed()
    press(browser, "#operations-Model-model .opblock-summary-control")
    wait(browser, lambda driver: "virginica" in driver.find_element(By.ID, "interface").text)
