"""Files that appear whole, what they were made from, journals of unfinished work, GeoPackages and styles.

Knows how things are written, not what they mean: no grids, imagery, chips, labels or models.
"""
