"""Profiles of trainings: where the time goes, how fast the products are, what memory it takes."""
