"""Imagery from where it lives: catalogues and buckets are searched, and what an area needs is fetched into a cache.

What a modality is and how a raster is read is in `imagery`; nothing here cuts chips.
"""
