"""HDF5 files in which damage is told, and whose reading ends.

All metadata is that of HDF5 1.10, which has a checksum throughout, and datasets lie in chunks with a Fletcher-32 each.
Texts have fixed lengths: HDF5's heap for texts of any length has no checksum. Every dataset has an attribute `sha256`,
of its type, shape and bytes. The file's own is of its other attributes and of all datasets' digests.
"""
