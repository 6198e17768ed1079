"""The page, in a browser: it makes the images that Keras makes, shows them, and saves them."""

import base64
import dataclasses
import io
import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from job.export.web_layers import latent_directions
from job.export.web_page import web_page
from job.synthesis.marking import DIGITAL_SOURCE_TYPE
from tests.export.generators import MODELS, made_by_keras, source_of
from tests.servers.browser import run_browser, shown_in_a_browser

pytestmark = [pytest.mark.training, pytest.mark.slow]

# Uses the page as a person does, and keeps the files that it would save.
USE = """
const saved = [], names = [];
URL.createObjectURL = (blob) => { saved.push(blob); return "#"; };
HTMLAnchorElement.prototype.click = function () { names.push(this.download); };
const isDone = async () => {
  do await new Promise((resume) => setTimeout(resume, 50)); while (byId("save-grid").disabled);
};
const base64 = async (blob) => btoa(Array.from(
  new Uint8Array(await blob.arrayBuffer()), (byte) => String.fromCharCode(byte)).join(""));
(async () => {
  await isDone();
  const first = state.latents[0][0], inTurn = Array.from(state.labels);
  byId("next").click();
  byId("class").value = "1";
  byId("class").dispatchEvent(new Event("change"));
  await isDone();
  await saveGrid();
  cells[7].click();
  sliders[0].value = 2;
  sliders[0].dispatchEvent(new Event("input"));
  byId("save-image").click();
  while (saved.length < 2) await new Promise((resume) => setTimeout(resume, 50));
  show({names, inTurn, labels: state.labels, isOther: first !== state.latents[0][0],
    latents: state.latents.map((each) => Array.from(each)),
    options: Array.from(byId("class").options, (option) => option.text),
    label: byId("large").getAttribute("aria-label"), width: document.body.scrollWidth,
    pngs: await Promise.all(saved.map(base64))});
})();
"""


def result_of(page: bytes, script: str, folder: Path) -> Any:
    """Return what ``script``, at the end of the page, passes to ``show``."""
    show = "const show = (result) => byId('result').textContent = JSON.stringify(result);"
    added = f'<pre id="result"></pre><script>{show}{script}</script></body>'
    path = folder / "page.html"
    path.write_bytes(page.replace(b"</body>", added.encode()))
    text = run_browser(path, folder, "--dump-dom")
    [result] = re.findall(r'<pre id="result">(.+?)</pre>', text)
    return json.loads(unescape(result))


@pytest.mark.parametrize("model", MODELS)
def test_the_script_makes_the_images_of_keras(tmp_path: Path, model: str) -> None:
    source = source_of(tmp_path, model)
    made = made_by_keras(source.generator, len(source.classes))
    labels = [0] * 3 if made.labels is None else made.labels.tolist()
    script = (
        f"const labels = {labels}; show({made.latents.tolist()}.map("
        "(latents, i) => Array.from(generate(latents, labels[i]))))"
    )
    images = np.array(result_of(web_page(source), script, tmp_path))
    assert np.abs(images.reshape(made.images.shape) - made.images).max() < 1e-4


def test_seeds_classes_sliders_and_saved_files(tmp_path: Path) -> None:
    source = source_of(tmp_path, "subpixel of 3 classes")
    found = result_of(web_page(source), USE, tmp_path)
    assert found["names"] == ["grid-seed1.png", "image-seed1-8.png"]
    assert found["options"] == ["all in turn", "cat", "dog", "owl"]
    assert found["inTurn"][:4] == [0, 1, 2, 0]
    assert found["labels"] == [1] * 25
    assert found["isOther"]
    assert found["label"] == "Image 8, dog"
    latents, labels = np.array(found["latents"], np.float32), np.ones(25, np.int32)
    assert abs(latents.mean()) < 0.1
    assert abs(latents.std() - 1) < 0.05
    moved = latents[7:8] + 2 * latent_directions(source.generator, 1)
    grid = source.generator([latents, labels], training=False).numpy().reshape(5, 5, 32, 24, 3)
    image = source.generator([moved, labels[:1]], training=False).numpy()[0]
    expected = grid.transpose(0, 2, 1, 3, 4).reshape(160, 120, 3), image
    for png, images in zip(found["pngs"], expected, strict=True):
        with Image.open(io.BytesIO(base64.b64decode(png))) as opened:
            pixels = np.asarray(opened.convert("RGB")).astype(float)
            assert DIGITAL_SOURCE_TYPE in opened.info["XML:com.adobe.xmp"]
        assert np.abs(pixels - (images + 1) * 127.5).max() < 1


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)], ids=["desk", "phone"])
def test_a_browser_shows_it(tmp_path: Path, width: int, dark: bool) -> None:
    """In a frame, because a window of Chromium has at least 500 pixels."""
    page, frame = tmp_path / "page.html", tmp_path / "frame.html"
    page.write_bytes(web_page(source_of(tmp_path, "transposed")))
    frame.write_text(
        f'<body style="margin:0"><iframe src="page.html" style="border:0;width:{width}px;'
        'height:1300px"></iframe>'
    )
    image, _ = shown_in_a_browser(frame, tmp_path / "browser", (1400, 1400), dark=dark)
    pixels = np.asarray(image).astype(int)[:1300, :width]
    background = pixels[2, 2]
    assert (background.max() < 40) if dark else (background.min() > 230)
    assert (np.abs(pixels[:, -4:] - background).max(axis=2) < 60).all(), "cut off at the right"
    accent = (0x6C, 0xB0, 0xFF) if dark else (0x16, 0x68, 0xC7)
    assert (np.abs(pixels - accent).max(axis=2) < 24).sum() > 200, "the sliders"


def test_it_requests_nothing_and_names_no_folder(tmp_path: Path) -> None:
    page = web_page(source_of(tmp_path, "subpixel of 3 classes")).decode()
    assert "default-src 'none'" in page
    assert not re.findall(r"(?:src|href)=|https?://|@import|url\(|fetch\(", page)
    assert str(tmp_path) not in page
    assert "<title>run: generator</title>" in page


def test_names_of_classes_are_text(tmp_path: Path) -> None:
    source = source_of(tmp_path, "subpixel of 3 classes")
    name = "</script><script>document.title='a stranger'</script>"
    hostile = dataclasses.replace(source.classes[0], name=name)
    page = web_page(source._replace(classes=(hostile, *source.classes[1:])))
    found = result_of(page, "show([model.classes[0], document.title])", tmp_path)
    assert found == [name, "run: generator"]
