"""The word list: phrases that code, help texts and documents must not use.

A pattern ignores case and matches whole words, also inside a name: `_` ends a word. A `~` is a
blank, an underscore or one line break with the quotes or the comment sign around it.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROOTS = (".ci", ".github", "bench", "charts", "docs", "job", "k8s", "release", "tests")
SUFFIXES = {".py", ".md", ".yaml", ".yml", ".tpl", ".txt", ".toml", ".sh", ".html", ".j2"}
# This list itself, and what is not English.
SKIPPED = {"tests/wording.py", "README.tr.md", "docs/notebook.tr.md"}

COMPARATIVES = (
    "longer|more|less|slower|faster|larger|smaller|bigger|newer|older|later|earlier|greater|"
    "higher|lower|better|worse|further|different|such|room|need|way"
)

PHRASES = {
    r"(?:stand|stands|stood|standing)(?![-_]ins?)": "is, exists, represents",
    r"told|tells|telling|tell~of": "reported, reports, distinguished",
    r"(?:go|goes|going|went|gone)~on(?!~(?:the|a)~)": "resume, continue",
    r"anew": "again",
    r"mend(?:s|ed|ing)?": "fix",
    r"(?:hang|hangs|hanging|hung)~on": "depend on",
    r"(?![`]*there(?![a-z]))[a-z0-9.`)}]+?~(?:is|are|was|were)~no~"
    rf"(?!(?:{COMPARATIVES})(?![a-z]))[\w{{]+": "is not a",
    r"of~ours|of~(?:its|their|our|his)~own": "our, its own",
    r"as~(?:it~comes|they~come)(?!~from)": "unchanged, by default",
    r"without~a~word": "silently, without a message",
    r"as~far~as~(?:\w+~){1,4}can": "if known",
    r"whoever|wherever|whatever~(?:dies|runs|is|was|it)": "the caller, any, if",
    r"what~became~of": "the outcome of",
    r"where~there~(?:is|are)~(?:none|no|any)": "if there is",
    r"(?:a|an|the|each|every|last|next|first|one|own|between|s)~looks?(?!~like)": "check, status",
    r"looks?~there|look(?=\()": "check, status",
    r"(?<!at_)(?:most|least)(?=_(?!common|squares))|fewest": "max_, min_",
    r"first~workers?": "chief",
    r"(?:a|an|each|every|this|another|last|previous|earlier|former|one|new)~start(?!~of~)": (
        "attempt"
    ),
    r"(?<!plain )(?<!whole )(?<!key )(?<!two )(?<!few )(?<!like )(?<!comp_)(?<!break_long_)words": (
        "arguments, text, message"
    ),
    r"mine": "own, local",
}
# One text for each phrase, and what is found in it.
BROKEN = [
    ("Where the run stands.", "stands"),
    ("x = told_ending", "told"),
    ("# The run goes\n    # on.", "goes # on"),
    ("The count begins anew.", "anew"),
    ("Mend the link.", "Mend"),
    ("It hangs on the store.", "hangs on"),
    ("raise E(f'{x} is no {kind}')", "x} is no {kind"),
    ('("a value of its "\n    "own")', 'of its " "own'),
    ("The library, as it comes.", "as it comes"),
    ("The chief ends without a word.", "without a word"),
    ("as far as the store can say", "as far as the store can"),
    ("def test_whoever_waits(): pass", "whoever"),
    ("What became of a save.", "What became of"),
    ("None where there is none.", "where there is none"),
    ("The driver's look at a run.", "s look"),
    ("status = look(store)", "look"),
    ("min(most_workers, 3)", "most"),
    ("The first worker saves.", "first worker"),
    ("A start failed.", "A start"),
    ("with words for people", "words"),
    ("if mine:", "mine"),
]
PLAIN = (
    "There is no such file, `there is no file`, it is no longer there, and it is no slower. It"
    " understands a stand-in.\n"
    "The start of the run, and the only start of the program. That looks like the outstanding"
    " one.\n"
    "The option goes on the command line. In plain words: undermine, COMP_WORDS, at_least_one,"
    " most_common, least_squares.\n"
    "def test_there_is_no_file(): pass\ndef is_no_longer(): pass\n"
)
RIDDLES = '''"""What a shard is."""
class Shard:
    """A part of the data."""
    def size(self): "How many bytes."
    def hash(self): "Of its bytes."
    def rows(self): "Return the rows. What is missing is zero."
'''
_SEPARATOR = r"""(?:[ _]|[ ]?["']?\n[ \t]*(?:\#|f?["'])?[ ]?)"""
_COMPILED = {
    re.compile(
        rf"(?<![A-Za-z0-9])(?:{pattern.replace('~', _SEPARATOR)})(?![A-Za-z0-9])", re.IGNORECASE
    ): better
    for pattern, better in PHRASES.items()
}
# A docstring starts with its subject or an imperative verb, not with a clause.
_CLAUSE = re.compile(r"(?:What|Whether|Where|Which|Who|Whose|How|When|Why|Of)\b")
_QUOTED_CLAUSE = re.compile(rf"[\"']\s*{_CLAUSE.pattern}")


def unplain(text: str) -> Iterator[tuple[int, str]]:
    """Yield (line, complaint) for each dropped phrase in any text."""
    for pattern, better in _COMPILED.items():
        for match in pattern.finditer(text):
            found = " ".join(match.group().split())
            yield text.count("\n", 0, match.start()) + 1, f"{found!r}; write: {better}"


def riddles(source: str) -> Iterator[tuple[int, str]]:
    """Yield (line, complaint) for each docstring of a Python source that starts with a clause."""
    if not _QUOTED_CLAUSE.search(source):  # parsing is slow
        return
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, kinds) and (first := _CLAUSE.match(ast.get_docstring(node) or "")):
            line = node.body[0].lineno
            yield line, f"docstring starts with {first.group()!r}; say what it does or is"


def complaints(path: Path) -> list[str]:
    """Return the complaints about one file, as `file:line: complaint`, in the order of lines."""
    text = path.read_text()
    found = [*unplain(text), *(riddles(text) if path.suffix == ".py" else ())]
    name = path.relative_to(ROOT)
    return [f"{name}:{line}: {complaint}" for line, complaint in sorted(found)]


def files(*names: str) -> list[Path]:
    """Return the checked files below folders of the repository; without names, of all of it."""
    roots = [ROOT / name for name in names or ROOTS]
    paths = [path for root in roots for path in ([root] if root.is_file() else root.rglob("*"))]
    paths += () if names else [path for path in ROOT.iterdir() if path.is_file()]
    return sorted(
        path
        for path in paths
        if (path.suffix in SUFFIXES or path.name in ("Makefile", "Dockerfile") or path in roots)
        and path.is_file()
        and path.relative_to(ROOT).as_posix() not in SKIPPED
    )
