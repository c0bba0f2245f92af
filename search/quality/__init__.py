"""Loss as a function of shape, tokens and bits: the fitted law, its published prior and what uses them."""
