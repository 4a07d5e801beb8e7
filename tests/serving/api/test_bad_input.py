"""Invalid requests: each is rejected with its status, none with a 5xx, and concurrent valid requests succeed."""

import json
import pickle
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from PIL import Image

from tests.models.images.test_image import encode, png_header
from tests.serving.bundles import DIGITS, IRIS, raw, weights, write
from tests.serving.conftest import Local

Make = Callable[..., Local]
JSON = "application/json"
GOOD = raw(DIGITS, 1)[0].tolist()
EMPTY = {"content": b"", "headers": {"content-type": "image/png"}}
ROW = dict.fromkeys(IRIS.features, 1.0)


def put(value: Any, row: int = 3, column: int = 5) -> list[Any]:
    """One example with one value replaced."""
    example = json.loads(json.dumps(GOOD))
    example[row][column][0] = value
    return [example]


def body(inputs: Any, **more: Any) -> bytes:
    return json.dumps({"inputs": inputs} | more).encode()


def deep(levels: int) -> bytes:
    return b'{"inputs": ' + b"[" * levels + b"]" * levels + b"}"


def png(chunk: tuple[bytes, bytes], times: int = 1) -> bytes:
    """8x8 pixels after a given chunk, repeated `times`."""
    first = (b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0))
    chunks = (first, *[chunk] * times, (b"IDAT", zlib.compress(b"\0" * 72)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


PICTURES: dict[str, tuple[bytes, int, str]] = {
    "truncated PNG": (encode(Image.new("L", (64, 64), 9))[:60], 400, "damaged"),
    "truncated JPEG": (encode(Image.new("L", (64, 64), 9), "JPEG")[:200], 400, "damaged|not an image"),
    "header only": (b"\x89PNG\r\n\x1a\n", 400, "a damaged image"),
    "empty": (b"", 400, "no bytes"),
    "text as PNG": (b"this is no picture", 400, "found text"),
    "HTML": (b"<!DOCTYPE html><html>", 400, "found HTML"),
    "SVG": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', 400, "found SVG"),
    "XML entities": (b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>', 400, "found XML"),
    "GIF": (encode(Image.new("L", (8, 8)), "GIF"), 400, "found GIF"),
    "TIFF": (encode(Image.new("L", (8, 8)), "TIFF"), 400, "found TIFF"),
    "PDF": (b"%PDF-1.7\n", 400, "found PDF"),
    "ZIP": (b"PK\x03\x04rest", 400, "ZIP"),
    "gzip": (b"\x1f\x8b\x08", 400, "gzip"),
    "pickle": (pickle.dumps([1, 2]), 400, "pickle"),
    "NumPy": (b"\x93NUMPY\x01\x00", 400, "NumPy"),
    "address": (b"http://127.0.0.1:1/a.png", 400, "an address"),
    "file address": (b"file:///etc/passwd", 400, "an address"),
    "400 megapixels": (png_header(20_000, 20_000), 400, "too large"),
    "20 megapixels": (png_header(5_000, 4_000), 400, "5000 x 4000"),
    "no pixels": (png_header(0, 0), 400, "not an image|damaged"),
    "negative BMP": (
        b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, -5, 5, 1, 24, 0, 0, 0, 0, 0, 0),
        400,
        "",
    ),
    "text chunk bomb": (png((b"zTXt", b"k\0\0" + zlib.compress(b"\0" * 100_000_000))), 400, ""),
    "many compressed texts": (
        png((b"zTXt", b"k\0\0" + zlib.compress(b"\0" * 1_000_000)), times=60),
        400,
        "bytes of texts",
    ),
    "many colour profiles": (png((b"iCCP", b"k\0\0" + zlib.compress(b"\0" * 1_000_000)), times=60), 400, "60 colour"),
}
GOOD_PICTURES: dict[str, bytes] = {
    "16 bits": encode(Image.fromarray(np.full((8, 8), 40_000, np.uint16))),
    "CMYK": encode(Image.new("CMYK", (8, 8), (1, 2, 3, 4)), "JPEG"),
    "animated": encode(Image.new("L", (8, 8), 1), "WEBP", save_all=True, append_images=[Image.new("L", (8, 8), 9)]),
    "1 x 1": encode(Image.new("1", (1, 1))),
    "transparent": encode(Image.new("RGBA", (30, 7))),
}
DOCUMENTS: dict[str, tuple[bytes, int, str]] = {
    "number too large": (body(put(256)), 400, r"inputs\[0\]\[3\]\[5\]\[0\]: found the number 256"),
    "number far too large": (body(put(300)), 400, "found the number 300"),
    "negative number": (body(put(-1)), 400, "found the number -1"),
    "65 bits": (body(put(2**65)), 400, "allowed: whole numbers"),
    "minus 65 bits": (body(put(-(2**65))), 400, "allowed: whole numbers"),
    "half": (body(put(0.5)), 400, r"found the number 0\.5"),
    "whole float": (body(put(3.0)), 400, r"found the number 3\.0"),
    "all floats": (body([np.full((8, 8, 1), 0.5).tolist()]), 400, "whole numbers"),
    "text": (body(put("7")), 400, "found text"),
    "null": (body(put(None)), 400, "found null"),
    "true": (body(put(True)), 400, "found true"),
    "all true": (body([np.ones((8, 8, 1), bool).tolist()]), 400, "found true"),
    "object": (body(put({})), 400, "found an object"),
    "NaN": (body(put(float("nan"))), 400, "not JSON"),
    "Infinity": (body(put(float("inf"))), 400, "not JSON"),
    "1e400": (body(put(7)).replace(b"7", b"1e400"), 400, "not JSON"),
    "1e999 digits": (b'{"inputs": ' + b"9" * 5000 + b"}", 400, "not JSON"),
    "leading zero": (b'{"inputs": [01]}', 400, "not JSON"),
    "ragged row": (body([[*GOOD[:7], GOOD[7][:7]]]), 400, r"inputs\[0\]\[7\]: found a list of 7"),
    "ragged batch": (body([GOOD, GOOD[:7]]), 400, r"inputs\[1\]: found a list of 7"),
    "mixed depth": (body([GOOD, np.array(GOOD)[..., 0].tolist()]), 400, r"inputs\[1\]\[0\]\[0\]"),
    "mixed depth, other way": (body([np.array(GOOD)[..., 0].tolist(), GOOD]), 400, r"inputs\[1\]"),
    "flat row": (body([np.array(GOOD).ravel().tolist()]), 400, r"inputs\[0\]: found a list of 64"),
    "one example without the batch": (body(GOOD), 400, r"inputs\[0\]\[0\]: found"),
    "transposed channels": (body([np.zeros((1, 8, 8), int).tolist()]), 400, "allowed: a list of 8"),
    "three channels": (body([np.zeros((8, 8, 3), int).tolist()]), 400, "found a list of 3"),
    "another size": (body([np.zeros((28, 28), int).tolist()]), 400, "found a list of 28"),
    "too deep": (body([[[[[1]]]]]), 400, "inputs"),
    "empty batch": (body([]), 400, "found a list of 0"),
    "empty example": (body([[]]), 400, "found a list of 0"),
    "number for a batch": (body(7), 400, "found the number 7"),
    "text for a batch": (body("http://127.0.0.1/x"), 400, "found text"),
    "null for a batch": (body(None), 400, "found null"),
    "object for a batch": (body({"0": GOOD}), 400, "found an object"),
    "objects for pictures": (body([{"image": 1}]), 400, "found an object"),
    "too many examples": (body([[]] * 5000), 400, "found 5000 examples"),
    "no inputs": (b"{}", 400, "found null"),
    "unknown key": (body([GOOD], wrong=1), 400, "unknown keys: wrong"),
    "misspelt key": (b'{"input": []}', 400, "unknown keys: input"),
    "duplicate key": (b'{"inputs": [], "inputs": []}', 400, "comes twice"),
    "duplicate key, escaped": (b'{"inputs": [], "\\u0069nputs": []}', 400, "comes twice"),
    "list for a document": (b"[[1]]", 400, "no JSON object"),
    "text for a document": (b'"x"', 400, "no JSON object"),
    "empty body": (b"", 400, "body is empty"),
    "half a document": (body([GOOD])[:-20], 400, "not JSON"),
    "two documents": (body([GOOD]) * 2, 400, "not JSON"),
    "comment": (b'{"inputs": [] /* x */}', 400, "not JSON"),
    "byte order mark": (b"\xef\xbb\xbf" + body([GOOD]), 400, "not JSON"),
    "UTF-16": (body([GOOD]).decode().encode("utf-16"), 400, "not JSON"),
    "invalid UTF-8": (b'{"inputs": "\xff\xfe"}', 400, "not JSON"),
    "lone surrogate": (b'{"inputs": "\\ud800"}', 400, "not JSON"),
    "nul bytes": (b"\0" * 100, 400, "not JSON"),
    "nested deeply": (deep(900), 400, "allowed: a list of 8"),
    "nested too deeply": (deep(100_000), 400, "not JSON"),
    "deep and duplicate": (b'{"a": "x", "inputs": ' + b"[" * 1000 + b"]" * 1000 + b"}", 400, ""),
    "deep objects": (b'{"a": ' * 900 + b"1" + b"}" * 900, 400, "nested too deeply|unknown keys"),
    "very many keys": (
        orjson.dumps({"inputs": '"'} | dict.fromkeys(map(str, range(60_000)))),
        400,
        "the body has 60001 keys; allowed: 2",
    ),
    "top_k deep": (
        body([GOOD])[:-1] + b', "top_k": ' + b"[" * 900 + b"]" * 900 + b"}",
        400,
        "top_k: found a list of 1",
    ),
    "pickle for a document": (pickle.dumps({"inputs": []}), 400, "not JSON"),
    "top_k zero": (body([GOOD], top_k=0), 400, "top_k: found the number 0"),
    "top_k too many": (body([GOOD], top_k=11), 400, "from 1 to 10"),
    "top_k half": (body([GOOD], top_k=1.5), 400, "top_k"),
    "top_k true": (body([GOOD], top_k=True), 400, "top_k: found true"),
    "top_k text": (body([GOOD], top_k="3"), 400, "top_k"),
    "body over the limit": (b" " * 5_000_000, 413, "at most 4194304"),
}
TABLES: dict[str, tuple[Any, str]] = {
    "missing feature": ([dict.fromkeys(IRIS.features[1:], 1.0)], "sepal length"),
    "unknown feature": ([ROW | {"colour": 1.0}], "colour"),
    "text": ([ROW | {"sepal length": "5"}], "found text"),
    "true": ([ROW | {"sepal length": True}], "found true"),
    "null": ([ROW | {"sepal length": None}], "found null"),
    "beyond float32": ([ROW | {"sepal length": 1e39}], r"found the number 1e\+39"),
    "a list after an object": ([ROW, [1, 2, 3, 4]], r"inputs\[1\]: found a list"),
    "an object after a list": ([[1, 2, 3, 4], ROW], r"inputs\[1\]: found an object"),
    "too few numbers": ([[1, 2, 3]], "found a list of 3"),
    "too many numbers": ([[1, 2, 3, 4, 5]], "found a list of 5"),
}
REQUESTS: dict[str, tuple[str, str, dict[str, Any], int]] = {
    "no content type": ("POST", "/predict", {"content": body([GOOD])}, 415),
    "form for JSON": ("POST", "/predict", {"data": {"inputs": "1"}}, 415),
    "pickle content type": (
        "POST",
        "/predict",
        {"content": b"", "headers": {"content-type": "application/vnd.bentoml+pickle"}},
        415,
    ),
    "JSON for a picture": ("POST", "/predict/image", {"json": {"files": "http://127.0.0.1/x.png"}}, 415),
    "missing boundary": (
        "POST",
        "/predict/image",
        {"content": b"x", "headers": {"content-type": "multipart/form-data"}},
        400,
    ),
    "wrong boundary": (
        "POST",
        "/predict/image",
        {"content": b"x", "headers": {"content-type": "multipart/form-data; boundary=y"}},
        400,
    ),
    "form without a file": ("POST", "/predict/image", {"data": {"top_k": "1"}, "files": {}}, 415),
    "address as a field": ("POST", "/predict/image", {"files": {"files": (None, "http://127.0.0.1/x.png")}}, 400),
    "too many files": ("POST", "/predict/image", {"files": [("files", ("a", b"x"))] * 65}, 400),
    "unknown parameter": (
        "POST",
        "/predict/image?topk=1",
        EMPTY,
        400,
    ),
    "bad parameter": (
        "POST",
        "/predict/image?top_k=-1",
        EMPTY,
        400,
    ),
    "parameter twice": (
        "POST",
        "/predict/image?top_k=1&top_k=2",
        EMPTY,
        400,
    ),
    "pixels": (
        "POST",
        "/predict/image?pixels=2",
        {"content": GOOD_PICTURES["1 x 1"], "headers": {"content-type": "image/png"}},
        400,
    ),
    "parameter in query and form": (
        "POST",
        "/predict/image?top_k=x",
        {"data": {"top_k": "1"}, "files": {"files": ("a", GOOD_PICTURES["1 x 1"])}},
        400,
    ),
    "parameter twice in a form": (
        "POST",
        "/predict/image",
        {"data": {"top_k": ["1", "2"]}, "files": {"files": ("a", GOOD_PICTURES["1 x 1"])}},
        400,
    ),
    "half a character in a form": (
        "POST",
        "/predict/image",
        {
            "content": b'--x\r\nContent-Disposition: form-data; name="n+2AA-"\r\n\r\n1\r\n--x\r\nContent-Disposition: '
            b'form-data; name="files"; filename="a"\r\n\r\nx\r\n--x--\r\n',
            "headers": {"content-type": "multipart/form-data; boundary=x; charset=utf-7"},
        },
        400,
    ),
    "unknown path": ("GET", "/nothing", {}, 404),
    "path upwards": ("GET", "/docs/../../../etc/passwd", {}, 404),
    "BentoML's own page": ("GET", "/static_content/index.css", {}, 404),
    "wrong method": ("GET", "/predict", {}, 405),
    "unknown method": ("BREW", "/predict", {}, 405),
    "delete": ("DELETE", "/model", {}, 405),
}


def post_among_valid(service: Local, bad: tuple[str, str, dict[str, Any]]) -> Any:
    """The response to the bad request, sent among valid ones that must succeed."""
    inputs = raw(DIGITS, 4)
    good = [("POST", "/predict", {"json": {"inputs": [one.tolist()]}}) for one in inputs]
    first, second, response, *others = service.many(*good[:2], bad, *good[2:])
    rows = [reply.json()["predictions"][0]["probabilities"] for reply in (first, second, *others)]
    found = [list(row.values()) for row in rows]
    np.testing.assert_allclose(found, weights(DIGITS).expected(inputs), atol=1e-6)
    return response


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("champion"), weights(DIGITS))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents(folder: Path, local: Make, name: str) -> None:
    content, status, message = DOCUMENTS[name]
    request = ("POST", "/predict", {"content": content, "headers": {"content-type": JSON}})
    response = post_among_valid(local(folder), request)
    assert response.status_code == status, response.text
    assert re.search(message, response.json()["error"]), response.text


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("form", [True, False])
def test_images(folder: Path, local: Make, name: str, form: bool) -> None:
    content, status, message = PICTURES[name]
    whole: dict[str, Any] = {"content": content, "headers": {"content-type": "image/png"}}
    options = {"files": {"files": ("a.png", content, "image/png")}} if form else whole
    response = post_among_valid(local(folder), ("POST", "/predict/image", options))
    assert response.status_code == status, response.text
    assert re.search(message, response.json()["error"]), response.text


@pytest.mark.parametrize("name", GOOD_PICTURES)
def test_unusual_valid_images(folder: Path, local: Make, name: str) -> None:
    request = {"content": GOOD_PICTURES[name], "headers": {"content-type": "image/png"}}
    assert post_among_valid(local(folder), ("POST", "/predict/image", request)).status_code == 200


@pytest.mark.parametrize("name", TABLES)
def test_tables(iris: Path, local: Make, name: str) -> None:
    inputs, message = TABLES[name]
    response = local(iris).post("/predict", content=body(inputs), headers={"content-type": JSON})
    assert response.status_code == 400
    assert re.search(message, response.json()["error"]), response.text


@pytest.mark.parametrize("name", REQUESTS)
def test_requests(folder: Path, local: Make, name: str) -> None:
    method, path, options, status = REQUESTS[name]
    response = post_among_valid(local(folder), (method, path, options))
    assert response.status_code == status, response.text
    assert response.json()["error"]


def test_images_for_a_table_model(iris: Path, local: Make) -> None:
    response = local(iris).post("/predict/image", content=b"x", headers={"content-type": "image/png"})
    assert response.status_code == 409


def test_overflow_fails_only_its_own_request(iris: Path, local: Make) -> None:
    inputs = raw(IRIS, 3)
    extreme = np.full((1, 4), 3e38, np.float32)
    service = local(iris)
    batches = (inputs[:1], np.concatenate([inputs[1:2], extreme]), inputs[2:])
    responses = service.many(*(("POST", "/predict", {"json": {"inputs": batch.tolist()}}) for batch in batches))
    assert [response.status_code for response in responses] == [200, 422, 200]
    assert "inputs[1]" in responses[1].json()["error"]
    assert "nan" not in service.get("/metrics").text.lower()
    (statistics,) = service.get("/v2/models/tandem/stats").json()["model_stats"]
    counts = {name: statistics["inference_stats"][name]["count"] for name in ("success", "fail")}
    assert counts == {"success": 2, "fail": 1}


def test_total_pixels_of_a_request_are_limited(folder: Path, local: Make) -> None:
    large = encode(Image.new("L", (2000, 2000)))
    files = [("files", ("a.png", large, "image/png"))]
    service = local(folder, max_pixels=10_000_000)
    assert service.post("/predict/image", files=files * 2).status_code == 200
    response = service.post("/predict/image", files=files * 3)
    assert response.status_code == 400
    assert response.json()["error"] == "the 3 images have 12000000 pixels; at most 10000000 are allowed"


INPUT = {"name": "image", "datatype": "UINT8", "shape": [1, 8, 8, 1], "data": [0] * 64}
DEEP = b"[" * 900 + b"]" * 900


@pytest.mark.parametrize("field", ["name", "datatype", "shape"])
def test_deep_values_in_a_tensor(folder: Path, local: Make, field: str) -> None:
    content = orjson.dumps({"inputs": [INPUT | {field: "DEEP"}]}).replace(b'"DEEP"', DEEP)
    response = local(folder).post("/v2/models/tandem/infer", content=content, headers={"content-type": JSON})
    assert response.status_code == 400
    assert f"inputs[0].{field}: found a list of 1; " in response.json()["error"]


def test_a_deep_name_of_the_output(folder: Path, local: Make) -> None:
    content = orjson.dumps({"inputs": [INPUT], "outputs": [{"name": "DEEP"}]}).replace(b'"DEEP"', DEEP)
    response = local(folder).post("/v2/models/tandem/infer", content=content, headers={"content-type": JSON})
    assert response.status_code == 400
    assert "outputs[0].name: found a list of 1; " in response.json()["error"]


def test_a_header_length_of_thousands_of_digits(folder: Path, local: Make) -> None:
    headers = {"inference-header-content-length": "0" * 19 + "1" + "0" * 4400}
    response = local(folder).post("/v2/models/tandem/infer", content=b"{}", headers=headers)
    assert response.status_code == 400
    assert "inference-header-content-length: found '0000" in response.json()["error"]
