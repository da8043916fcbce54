"""Chips: the cells that areas take, cutting them from imagery, the chip folder, splits, batches and thumbnails.

Knows pixels by modality and channel. No encoders, labels or scores.
"""
