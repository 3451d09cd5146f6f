from hypothesis import settings

# A shared machine stalls now and then: how long one example takes says nothing about the code.
settings.register_profile("unit", deadline=None, max_examples=40)
settings.load_profile("unit")
