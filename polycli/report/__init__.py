"""Tables, figures and reports. Knows no family."""
