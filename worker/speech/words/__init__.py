"""Words with times: forced alignment, cross-attention, and how they are fitted."""
