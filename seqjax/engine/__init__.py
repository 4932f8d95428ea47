"""What runs a cell over a sequence: validation, masks, the loop over time and its derivative."""
