"""What ``nightshelf report`` shows of a night, from the lake to one HTML page."""
