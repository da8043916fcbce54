"""How outputs are written: whole files, records of what they were made from, journals, locks, GeoPackages, styles.

Knows nothing of what is in them: no grids, imagery, chips, labels or models.
"""
