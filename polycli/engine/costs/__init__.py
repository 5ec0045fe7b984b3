"""What a model costs: operations and activations, counted on shapes alone."""
