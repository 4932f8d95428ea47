"""What cells are made of: products, initial values, masks and normalisation."""
