"""Pages of the documentation that are made of the code: recipes, trainings, tables.

    make reference
    python -m docs.generate

They are committed, so that they can be read without a build; a test compares them with the code.
"""
