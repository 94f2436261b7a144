"""What a picture is like as a whole, whoever is in it: how sharp, how it moves, what it looks like from afar. Measures only."""
