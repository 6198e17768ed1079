"""Run benchmarks and write their tables into docs/performance.md.

    python -m bench                      # all; `make bench`
    python -m bench train-step recovery  # only these

Nothing else should run on the machine. The text around the tables is written by hand and kept.
"""

import argparse
import datetime
import subprocess
import sys
from importlib.metadata import version

from bench.machine import ROOT, described

PAGE = ROOT / "docs" / "performance.md"
PACKAGES = ("tensorflow", "keras", "ray")


OPTIONS = (
    "fashion fashion:training.batch_norm=synchronized fashion:training.jit_compile=true"
    " fashion:training.precision=bfloat16 fashion:training.augment.mode=fixed"
    " fashion:training.augment.mode=adaptive notebook"
)
SIZES = "small64 dcgan32 dcgan64 dcgan128"
# The output of their commands, tables of Markdown, becomes one part of the page.
TOPICS = {
    "train-step": ("-m bench.train_step --batch 32", "-m bench.train_step --batch 64"),
    "options": (f"-m bench.step --workers 2 --rounds 5 {OPTIONS}",),
    "workers": ("-m bench.workers --batch 32", "-m bench.workers --batch 64"),
    "sizes": (f"-m bench.step --steps 1 --rounds 3 --batch 16 {SIZES}",),
    "memory": ("-m bench.memory",),
    "start": ("-m bench.recovery --only start --rounds 3",),
    "recovery": ("-m bench.recovery --only recovery --kills 3",),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("topics", nargs="*", metavar="TOPIC", help=", ".join(TOPICS))
    chosen = parser.parse_args().topics or list(TOPICS)
    for name in chosen:
        if name not in TOPICS:
            parser.error(f"{name}: no such topic; expected {', '.join(TOPICS)}")
    for name in chosen:
        print(f"==> {name}", flush=True)
        parts = [run(command) for command in TOPICS[name]]
        PAGE.write_text(with_part(PAGE.read_text(), name, "\n\n".join(parts)))


def run(command: str) -> str:
    """Run a benchmark; return its command, date and machine, and then its output."""
    result = subprocess.run(
        [sys.executable, *command.split()], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    print(result.stdout, flush=True)
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    head = f"`python {command}`\n\n{described()}; {versions}; {datetime.date.today()}."
    return f"{head}\n\n{result.stdout.strip()}"


def with_part(page: str, name: str, text: str) -> str:
    """Return the page with the part of ``name`` replaced; ``SystemExit`` if it has none."""
    begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->"
    before, found, rest = page.partition(begin)
    _, also, after = rest.partition(end)
    if not (found and also):
        raise SystemExit(f"{PAGE}: no lines `{begin.strip()}` and `{end}`; add them")
    return f"{before}{begin}\n{text}\n\n{end}{after}"


if __name__ == "__main__":
    main()
