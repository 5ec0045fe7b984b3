"""How often intervals hold the truth: cases that do not depend on each other, and their shares."""
