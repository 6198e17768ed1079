"""MkDocs hook: pages and the files they link to, by their paths in the repository.

So README.md is the first page of the site, and a link works on the site as it does in a checkout.
``mkdocs.yml`` names this file; ``make docs`` builds the site.
"""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PAGES = (
    *("README.md", "README.tr.md", "CONTRIBUTING.md", "CHANGELOG.md"),
    "charts/dcgan-train/README.md",
    *(page.relative_to(ROOT).as_posix() for page in ROOT.glob("docs/*.md")),
)
_LINK = re.compile(r"\]\((?!\w+:)([^)#\s]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Replace the files of ``docs/``; those of the theme stay."""
    for file in [file for file in files if file.src_dir == config.docs_dir]:
        files.remove(file)
    for path in sorted({*PAGES, *(path for page in PAGES for path in _linked(ROOT / page))}):
        files.append(File(path, str(ROOT), config.site_dir, config.use_directory_urls))
    return files


def _linked(page: Path) -> list[str]:
    """Return the files of the repository that ``page`` links to or shows."""
    paths = ((page.parent / link).resolve() for link in _LINK.findall(page.read_text()))
    return [path.relative_to(ROOT).as_posix() for path in paths if path.is_file()]
