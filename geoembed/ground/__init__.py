"""Where things are: coordinate reference systems, grids of cells, areas of interest, outlines of chips.

Arithmetic and geometry, and the vector files of areas. No rasters, and nothing that knows what a chip shows.
"""
