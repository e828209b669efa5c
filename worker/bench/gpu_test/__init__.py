"""What the GPU test measures and checks on a card."""
