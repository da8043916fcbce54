"""Embeddings files, and classical models fitted on few labels: features, draws, classifiers, sweeps and scores.

Numbers in, numbers out. No pixels, no encoders, and no sentences about what was found.
"""
