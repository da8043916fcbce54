"""From a path to pixels on a place: modalities, sources of every kind, how numbers are stored, warping.

The one road by which rasters are read, for chips and labels alike. No chip folders and no labels.
"""
