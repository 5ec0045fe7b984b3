"""Objects to predict for, and the catalogues that the answers go to."""
