"""How fast and how small: this library's LSTM beside those of other libraries."""
