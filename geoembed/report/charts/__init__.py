"""Charts as SVG that stands inside an HTML page, drawn by matplotlib; nothing else draws, and nothing here computes.

Each is narrow enough for a phone, keeps its text as text that scales and is read aloud, and carries an alternative
text with its numbers. The title begins that text and must be unique on a page, as ids are made from it.
"""

from geoembed.report.charts.dot_chart import Dot, dots
from geoembed.report.charts.line_chart import Series, lines
from geoembed.report.charts.look import Look, looks
from geoembed.report.charts.point_charts import reliability, scatter

__all__ = ["Dot", "Look", "Series", "dots", "lines", "looks", "reliability", "scatter"]
