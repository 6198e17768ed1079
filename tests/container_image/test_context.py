"""The files that .dockerignore passes to a build, by a real builder."""

from pathlib import Path

import pytest

from tests.container_image.build import INPUTS, ROOT
from tests.container_image.containers import Containers, require_builder

# What may lie about in a checkout and must never be in a layer.
PLANTED = (
    *(
        ".env",
        ".git/config",
        ".aws/credentials",
        "kubeconfig",
        "id_rsa",
        "secrets.yaml",
        "pip.conf",
    ),
    *(
        "job/.env",
        "job/config/tls.key",
        "job/storage/ca.pem",
        "job/__pycache__/main.cpython-313.pyc",
        "job/cli/.netrc",
    ),
    *(
        "data/images.npy",
        "runs/first/checkpoints/manifest.json",
        ".venv/bin/python",
        ".tools/image/old.tar",
        "tests/conftest.py",
    ),
)


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Paths that arrive from a folder with the project's files and all of ``PLANTED``."""
    require_builder("buildah")
    folder = tmp_path_factory.mktemp("context")
    context = folder / "context"
    code = [
        path.relative_to(ROOT)
        for path in (ROOT / "job").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]
    for path in (*map(Path, INPUTS), *code):
        target = context / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((ROOT / path).read_bytes())
    for name in PLANTED:
        (context / name).parent.mkdir(parents=True, exist_ok=True)
        (context / name).write_text("secret")
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    tools = Containers(folder / "containers")
    sent = folder / "sent"
    tools.run(
        "buildah",
        "bud",
        "--isolation=chroot",
        "--file",
        folder / "Dockerfile",
        "--output",
        f"type=local,dest={sent}",
        context,
    )
    return {str(path.relative_to(sent)) for path in sent.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_no_secret_and_no_data_is_sent(sent):
    assert not sent & set(PLANTED)


def test_what_the_build_copies_is_sent(sent):
    assert {
        "requirements.lock",
        "requirements-gpu.lock",
        "pyproject.toml",
        "README.md",
        "LICENSE",
    } <= sent
    assert {
        "job/__init__.py",
        "job/cli/main.py",
        "job/config/presets/fashion.yaml",
        "job/report/templates/report.html.j2",
    } <= sent


def test_nothing_else_is_sent(sent):
    assert {path for path in sent if not path.startswith("job/")} <= set(INPUTS)
