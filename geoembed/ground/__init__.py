"""Where things are on the ground: CRS, lattices of pixels, grids of cells, cells' outlines, areas of interest.

Arithmetic and geometry, and the vector files of areas of interest. No rasters, and nothing of what chips show.
"""
