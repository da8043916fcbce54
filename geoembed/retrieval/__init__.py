"""Retrieval: which chips look like given ones; examples, the direction they point in, and what lies along it.

Reads embeddings some rows at a time, and writes a map and a page of what is nearest. Nothing is fitted to labels here.
"""
