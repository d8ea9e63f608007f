"""Taking the trained style elsewhere: merged models."""
