"""Every number, table and figure of the five articles, beside what is measured here."""
