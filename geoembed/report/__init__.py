"""The report: one page that tells what an evaluation found, question by question, in sentences, tables and charts.

Findings in, HTML out. Nothing is measured here, and no file is read or written but the page's own style.
"""
