"""The report's questions, one function each: a sentence computed from the findings, and what shows it.

A question that was not asked gives an empty string.
"""

from geoembed.answers.differences import missing, split, transfer
from geoembed.answers.learning import compared, enough
from geoembed.answers.space import healthy, looks_like
from geoembed.answers.trust import trusted

QUESTIONS = (enough, compared, split, transfer, missing, trusted, looks_like, healthy)
"""In the order of the page."""
