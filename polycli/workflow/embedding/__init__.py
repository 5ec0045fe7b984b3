"""The parts of the flow of `polycli embed`: rows, units of work, quarantine, publication, dry runs."""
