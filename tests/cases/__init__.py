"""Small datasets as people really have them, kept beside the test data: what is refused, what is read, what is said."""
