"""The commands of `polycli`, by group. What computes is imported by the command that needs it, not before."""
