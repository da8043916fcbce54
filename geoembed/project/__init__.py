"""A project folder: what a path is, which outputs lie in a folder, and which command makes what is missing.

Knows files by their names and first bytes, and opens none of them: no imagery, chips, labels or models.
"""
