"""The space of models: suggestions, the models they resolve to, and samplers that choose the next."""
