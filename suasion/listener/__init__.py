"""The frozen second model that reads an explanation and says how likely the right answer now looks."""
