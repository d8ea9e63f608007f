"""Which characters are hidden, and how a hidden text becomes a training sequence."""
