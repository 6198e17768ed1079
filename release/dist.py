"""Build what a release publishes: wheel, sdist, chart, bill of materials, licences.

    python -m release.dist --out dist    # or `make dist`

Made from the files that git tracks, as they are in the working tree, with the time of the last
commit: two builds of a commit give the same bytes. docs/release.md lists the files.
"""

import argparse
import functools
import gzip
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import yaml

from release import changelog
from release.version import current

ROOT = Path(__file__).parents[1]
TOOLS = ROOT / ".tools" / "release" / "bin"
HELM = ROOT / ".tools" / "bin" / "helm"
CHART = "charts/dcgan-train"
# Setuptools changes `sys.argv`.
BUILD = (
    "import sys, setuptools.build_meta as build; out = sys.argv[1];"
    "build.build_sdist(out); build.build_wheel(out)"
)

# Licences of dependencies under which the image may be passed on. Another one ends the build, so
# that someone reads it. MPL 2.0 only demands the source of changes to its files; there are none.
ALLOWED = (
    r"Apache\b.*|(\d-Clause )?BSD\b.*|0BSD|MIT\b.*|MPL-2\.0|Mozilla Public License 2\.0.*"
    r"|Python Software Foundation License|PSF-2\.0|Zlib|CC0-1\.0"
)
# Its licence file says it, its metadata does not; and two that are installed on Windows only.
LICENCES_OF = {"namex": "Apache-2.0", "colorama": "BSD-3-Clause", "tzdata": "Apache-2.0"}


def main() -> None:
    """Build into the folder of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="default: dist")
    parser.add_argument("--image", help="name of the published image, without a tag")
    parser.add_argument("--source", help="address of the repository, https://...")
    given = parser.parse_args()
    if untracked := _git("ls-files", "-o", "--exclude-standard").split():
        raise SystemExit(f"{', '.join(untracked)}: not tracked by git; add or remove them first")
    build(given.out.resolve(), given.image, given.source)
    for path in sorted(given.out.iterdir()):
        sys.stdout.write(f"{path.stat().st_size:>10,}  {path.name}\n")


def build(out: Path, image: str | None = None, address: str | None = None) -> None:
    """Write all files of a release into ``out``; replace what is there."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "source")
        copy_sources(source)
        python_packages(source, out)
        chart(source, out, image, address)
    write_licences(out)


@functools.cache
def epoch() -> int:
    """Return the time of the last commit, seconds since 1970; SOURCE_DATE_EPOCH overrides it."""
    return int(os.environ.get("SOURCE_DATE_EPOCH") or _git("log", "-1", "--format=%ct"))


def copy_sources(folder: Path) -> None:
    """Copy the files that git tracks, or would if they were added, to ``folder``."""
    for name in filter(None, _git("ls-files", "-z", "-co", "--exclude-standard").split("\0")):
        source, copy = ROOT / name, folder / name
        if source.is_file() and not source.is_symlink():
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(source.read_bytes())
            copy.chmod(0o755 if source.stat().st_mode & 0o100 else 0o644)
            os.utime(copy, (epoch(), epoch()))


def python_packages(source: Path, out: Path) -> None:
    """Build the wheel and the sdist of ``source`` into ``out``."""
    environment = os.environ | {"SOURCE_DATE_EPOCH": str(epoch())}
    _run(sys.executable, "-c", BUILD, out, cwd=source, env=environment)
    (sdist,) = out.glob("*.tar.gz")
    _repack(sdist)


def chart(source: Path, out: Path, image: str | None = None, address: str | None = None) -> None:
    """Package the chart of ``source``, with the addresses that only a publisher knows."""
    folder = source / CHART
    values, meta = folder / "values.yaml", folder / "Chart.yaml"
    about = yaml.safe_load(meta.read_text())
    changes = changelog.changes(current(), changelog.CHANGELOG.read_text())
    about["annotations"]["artifacthub.io/changes"] = yaml.safe_dump(changes, sort_keys=False)
    if image:
        text = values.read_text().replace("repository: dcgan-train\n", f"repository: {image}\n")
        values.write_text(text)
        images = [
            {"name": f"dcgan-train{suffix}", "image": f"{image}:{current()}{suffix}"}
            for suffix in ("", "-gpu")
        ]
        about["annotations"]["artifacthub.io/images"] = yaml.safe_dump(images)
    if address:
        about |= {"home": address, "sources": [address]}
        about["annotations"]["artifacthub.io/links"] = yaml.safe_dump(
            [{"name": "documentation", "url": f"{address}/blob/v{current()}/docs/kubernetes.md"}]
        )
    meta.write_text(yaml.safe_dump(about, sort_keys=False, allow_unicode=True))
    _run(HELM, "package", folder, "--destination", out, cwd=source)
    _repack(out / f"{about['name']}-{about['version']}.tgz")


def write_licences(out: Path) -> None:
    """Write the bill of materials of requirements.lock (CycloneDX) and the table of licences."""
    bill = out / f"dcgan-train-{current()}.cdx.json"
    lock = ROOT / "requirements.lock"
    arguments = ("requirements", lock, "--pyproject", ROOT / "pyproject.toml", "--sv", "1.6")
    _run(TOOLS / "cyclonedx-py", *arguments, "--output-reproducible", "--of", "JSON", "-o", bill)
    document = json.loads(bill.read_text())
    components = document["components"]
    found = licences([each["name"] for each in components])
    rows = []
    for each in components:
        del each["description"]  # the line of the lock, whose hashes are in `externalReferences`
        each["licenses"] = [{"license": {"name": found[_normal(each["name"])]}}]
        rows.append(f"| {each['name']} | {each['version']} | {found[_normal(each['name'])]} |\n")
    bill.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")
    table = "".join(["| package | version | licence |\n| --- | --- | --- |\n", *rows])
    (out / f"dcgan-train-{current()}-licences.md").write_text(table)


def licences(names: list[str]) -> dict[str, str]:
    """Return the licence of each package by its normal name, from the metadata of those installed.

    End the program if one is unknown or not in ``ALLOWED``.
    """
    command = (TOOLS / "pip-licenses", "--python", sys.executable, "--from=mixed", "--with-system")
    listed = json.loads(_run(*command, "--format=json", "--packages", *names))
    found = {_normal(each["Name"]): each["License"] for each in listed} | LICENCES_OF
    if refused := [text for name in names if (text := refusal(name, found.get(_normal(name))))]:
        raise SystemExit("\n".join(refused))
    return found


def refusal(name: str, licence: str | None) -> str | None:
    """Return why a dependency cannot be passed on under its licence; None if it can."""
    if licence is None or licence == "UNKNOWN":
        return f"{name}: no licence found; read its licence file and add it to LICENCES_OF"
    if all(re.fullmatch(ALLOWED, part) for part in re.split(r"; | AND | OR ", licence)):
        return None
    return (
        f"{name}: its licence is {licence}; expected one of ALLOWED. Use another package, or add it"
    )


def _repack(path: Path) -> None:
    """Write a .tar.gz again with its entries sorted, without users and with the commit's time."""
    with tarfile.open(path) as archive:
        members = sorted(archive.getmembers(), key=lambda member: member.name)
        contents = [archive.extractfile(member) if member.isfile() else None for member in members]
        raw = io.BytesIO()
        with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as copy:
            for member, content in zip(members, contents, strict=True):
                member.uid = member.gid = 0
                member.uname = member.gname = ""
                member.mtime, member.pax_headers = epoch(), {}
                # Not of this user's umask.
                member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
                copy.addfile(member, content)
    path.write_bytes(gzip.compress(raw.getvalue(), mtime=epoch()))


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _git(*arguments: str) -> str:
    return _run("git", *arguments, cwd=ROOT)


def _run(*command: object, **options: Any) -> str:
    """Run a command; return its standard output."""
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, **options
    )
    if done.returncode:
        raise SystemExit(f"{command[0]}: exit code {done.returncode}\n{done.stderr}{done.stdout}")
    return done.stdout


if __name__ == "__main__":
    main()
