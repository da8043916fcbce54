"""The chip folder: which cells it holds, cutting and writing them, splits, and chips as batches of tensors.

Knows pixels by modality and channel. No encoders, labels or scores.
"""
