"""Imagery: modalities, addresses and rasters, how numbers are stored, mosaics, and pixels warped to a place.

All rasters are read here, for chips and for labels. No chip folders and no labels.
"""
