"""What chips are labelled with: label files joined to chips, legends, and what class rasters hold within chips.

Ends at a target per chip. No embeddings and no classifiers.
"""
