"""Data that comes from files: text, sequence records and the batches made of them."""
