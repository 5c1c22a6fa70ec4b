"""What the gate looks at beside a table itself: tonight's fit, what came in, the night before, the recipe."""
