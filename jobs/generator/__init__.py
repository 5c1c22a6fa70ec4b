"""Shop traffic made of numbers: a world of people and things, their visits, and what goes wrong on the way in."""
