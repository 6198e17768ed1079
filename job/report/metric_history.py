"""The metric rows that count: those of the steps that lead to the end of a run.

A row read twice counts once. Rows of steps that were trained again, by a later attempt or after a
rollback, are superseded.
"""

from dataclasses import dataclass, field

from job.run.metric_rows import Row, metric_files, parse_row, read_lines
from job.storage.store import ObjectStore

MAX_PARSED_BYTES = 64 << 20  # of a larger history every n-th row is read


@dataclass
class MetricHistory:
    """``rows`` are in the order of steps, without superseded ones.

    ``first_rows`` and ``last_rows`` have each attempt's, in order, also if superseded.
    """

    rows: list[Row] = field(default_factory=list)
    last_rows: dict[str, Row] = field(default_factory=dict)
    first_rows: dict[str, Row] = field(default_factory=dict)
    num_bad_lines: int = 0

    def add(self, row: Row) -> None:
        """Add the row that was written next."""
        last = self.last_rows.get(row.attempt)
        if last and row.number <= last.number:
            return
        while self.rows and self.rows[-1].step > row.step:
            self.rows.pop()
        self.rows.append(row)
        self.last_rows[row.attempt] = row
        self.first_rows.setdefault(row.attempt, row)


def read_metrics(store: ObjectStore) -> MetricHistory:
    """Return every row that counts, with all its series."""
    history = MetricHistory()
    files = metric_files(store)
    every = max(1, -(-sum(entry.num_bytes for entry in files) // MAX_PARSED_BYTES))
    for number, line in enumerate(line for entry in files for line in read_lines(store, entry)):
        if every > 1 and number % every:
            continue
        row = parse_row(line)
        if row is None:
            history.num_bad_lines += 1
        else:
            history.add(row)
    return history
