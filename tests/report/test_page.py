"""Values are escaped, of bounded length and without control characters."""

from job.report.charts import Line, Mark, chart
from job.report.page import clean, render


def test_text_is_escaped_cut_and_without_control_characters() -> None:
    mark = Mark(0, "restart", "<&\"'>\x00\u202e\udcff")
    chart_of_mark = chart("x", [Line("x", [(0, 1), (1, 2)], 1)], [mark])
    assert b"<title>&lt;&amp;&#34;&#39;&gt;\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd</title>" in render(
        "chart.svg.j2", chart=chart_of_mark
    )
    assert clean("a" * 100, max_length=10) == "a" * 10 + " ..."
    assert clean("a\x00\x1b[31m\u202eb\nc") == "a\ufffd\ufffd[31m\ufffdb\nc"
