"""Building blocks of cells: products, initial values, masks and layer normalisation."""
