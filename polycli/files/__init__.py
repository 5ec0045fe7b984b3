"""Opening files that anybody may have written: one module for each kind, which says in a sentence what is wrong."""
