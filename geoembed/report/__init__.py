"""The evaluation of a sceptic: what is asked, what embeddings are compared with, and the page that answers.

The one folder that may import all nouns. Writes no file but the baselines; the step `evaluate` does.
"""
