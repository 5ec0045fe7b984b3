"""Redshifts beyond the paper's protocol: by other numbers and weights of neighbours, and by templates alone."""
