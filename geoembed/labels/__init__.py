"""Labels of chips: label files and the targets that chips get from them, legends, shares of classes within chips.

Ends at a target per chip. No embeddings and no classifiers.
"""
