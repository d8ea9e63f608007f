"""Taking a trained style elsewhere: merged models, cards, data for LLaMA-Factory, a server."""
