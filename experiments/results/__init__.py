"""The results page: rows of finished runs, beside their goals and published figures."""
