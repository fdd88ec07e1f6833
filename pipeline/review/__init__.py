"""People answer where the model is unsure, check samples of where it was sure, and hear appeals.

`queue` gives items out under leases, `decisions` takes what reviewers say and takes it back, `appeals` opens items for
those who object, `golden` mixes in items whose answer is known. The use cases run inside the caller's transaction.
"""
