"""The report's questions, one function each: a sentence computed from the findings, and what shows it.

A question that was not asked gives an empty string.
"""

from geoembed.report.answers.advice import advised
from geoembed.report.answers.differences import missing, split, transfer
from geoembed.report.answers.learning import compared, enough
from geoembed.report.answers.maps import accurate, mapped
from geoembed.report.answers.space import healthy, looks_like
from geoembed.report.answers.trust import trusted

QUESTIONS = (advised, mapped, accurate, enough, compared, split, transfer, missing, trusted, looks_like, healthy)
"""In the order of the page."""
