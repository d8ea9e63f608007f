"""One small subclass of the Hugging Face Trainer, and its callbacks."""
