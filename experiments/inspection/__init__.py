"""A look inside of a trained model: the states and gates of its layers, and pictures of them."""
