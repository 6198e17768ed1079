"""The commands of the documents run: each block of them in order, or a comment says why not.

A block of shell commands is run unless ``<!-- not run: REASON -->`` is the line above it. A block
of YAML below ``<!-- file: NAME -->`` is written to that file first. All pages share one folder, and
a command that several pages show is run once. The Turkish pages have the commands of the English
ones (``tests/test_docs.py``).
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from PIL import Image

from job.sources.garments import CLASS_NAMES
from tests.data.samples import keras_fashion_mnist
from tests.launch.program import environment, run
from tests.test_docs import DOCUMENTS, ROOT

# README first: it makes the images and the run that the other pages use.
PAGES = [name for name in DOCUMENTS if not name.endswith(".tr.md")]
_BLOCK = re.compile(r"(?:^ *<!--([^\n]*)-->\n)?^ *```(\w+)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r" (not run|file): (\S[^\n]*) ")


class Block(NamedTuple):
    """A block of a page, and the comment above it: ``not run`` or ``file``, and its text."""

    language: str
    text: str
    kind: str
    reason: str


def blocks(page: str) -> Iterator[Block]:
    for comment, language, text in _BLOCK.findall(page):
        kind, reason = found.groups() if (found := _COMMENT.fullmatch(comment)) else ("", "")
        yield Block(language, text, kind, reason)


def commands(block: Block) -> list[str]:
    """Return the command lines that a block asks to run."""
    if block.language not in ("sh", "bash") or block.kind == "not run":
        return []
    lines = block.text.replace("\\\n", " ").splitlines()
    return [line for line in lines if shlex.split(line, comments=True)]


def complaints(page: str) -> Iterator[str]:
    """Yield comments that belong to no block, and commands that cannot be run here."""
    known = list(blocks(page))
    for kind in ("not run", "file"):
        written = re.findall(rf"^ *<!-- {kind}:", page, re.MULTILINE)
        if len(written) != sum(block.kind == kind for block in known):
            yield f"a comment `{kind}:` is not directly above a block, or says nothing"
    for path in re.findall(r"tests/[\w/]+(?:\.py)?", " ".join(block.reason for block in known)):
        if not (ROOT / path).exists():
            yield f"{path}: no such test"
    for line in (line for block in known for line in commands(block)):
        if shlex.split(line)[0] != "dcgan-train":
            yield f"{line}: write `<!-- not run: REASON -->` above the block"


@pytest.mark.parametrize(
    ("page", "complaint"),
    [
        ("<!-- not run: needs a cluster -->\n\n```sh\nray up\n```\n", "not directly above"),
        ("<!-- not run: -->\n```sh\nray up\n```\n", "or says nothing"),
        ("<!-- not run: tests/test_nothing.py -->\n```sh\nray up\n```\n", "no such test"),
        ("```sh\nray up\n```\n", "ray up: write"),
    ],
)
def test_a_check_sees_what_it_is_for(page: str, complaint: str) -> None:
    assert any(complaint in found for found in complaints(page))


@pytest.mark.parametrize("name", PAGES)
def test_a_block_is_run_or_says_why_not(name: str) -> None:
    assert list(complaints((ROOT / name).read_text())) == []


def small_data(folder: Path) -> None:
    """Write 640 garments as a user's folder, and as Fashion-MNIST in the data folder of Keras."""
    images, labels = keras_fashion_mnist(folder / "keras", 640)
    for number, (pixels, label) in enumerate(zip(images, labels, strict=True)):
        path = folder / "my-images" / CLASS_NAMES[label] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)


@pytest.mark.live
@pytest.mark.cluster
@pytest.mark.training
@pytest.mark.timeout(1800)
def test_the_commands_run(
    tmp_path: Path, ray_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As they are on the pages, on few images, for 12 steps of one worker."""
    small_data(tmp_path)
    monkeypatch.chdir(tmp_path)
    env = environment(
        ray_folder,
        KERAS_HOME=str(tmp_path / "keras"),
        PYTHONPATH=str(ROOT),
        DCGAN_SET_TRAINING__STEPS="12",
        DCGAN_SET_WORKERS__COUNT="1",
        DCGAN_SET_METRICS__PORT="0",
        DCGAN_SET_METRICS__LINGER_SECONDS="0",
    )
    seen = set[str]()
    for name in PAGES:
        for block in blocks((ROOT / name).read_text()):
            if block.kind == "file":
                Path(block.reason).write_text(block.text)
            for line in commands(block):
                if line not in seen:
                    arguments = shlex.split(line, comments=True)[1:]
                    code, output = run(arguments, tmp_path / f"{len(seen)}.log", env)
                    assert code == 0, f"{name}: {line}\n{output}"
                seen.add(line)


SAME_NETWORKS = """
from job.config.load import load_run
from job.gan.networks import build_networks

ours = build_networks(load_run("notebook", check=False))
for network, same in ((generator, ours.generator), (discriminator, ours.discriminator)):
    assert [weight.shape for weight in network.weights] == [each.shape for each in same.weights]
"""


@pytest.mark.live
@pytest.mark.training
@pytest.mark.timeout(600)
def test_the_cells_of_the_notebook_run_and_have_the_networks_of_the_preset(tmp_path: Path) -> None:
    small_data(tmp_path)
    page = blocks((ROOT / "docs/notebook.md").read_text())
    cells = "".join(block.text for block in page if block.language == "python")
    env = {**os.environ, "KERAS_HOME": str(tmp_path / "keras"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", cells + SAME_NETWORKS]
    subprocess.run(command, cwd=tmp_path, env=env, check=True, timeout=500)
    with Image.open(tmp_path / "progress.gif") as movie:
        assert (movie.size, movie.n_frames) == ((140, 140), 10)
