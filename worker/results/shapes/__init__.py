"""A transcript in the shapes of other services and programs, for those who move over (pure).

Each module is one shape: what its readers look for, under their names and in their units. What a
shape has and a transcript doesn't know is left out where the shape allows that, else empty or zero.
"""
