"""The main job: every pair of the input judged, ranked and counted."""
