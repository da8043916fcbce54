"""Active learning: which chips to label next, the file that is labelled in QGIS, and labels that look wrong.

Chooses rows of embeddings, and writes what people look at. No training, and no maps: those are of `fits`.
"""
