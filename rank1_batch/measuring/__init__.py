"""How good an order and its labels are by people's grades: measures, comparisons, agreement, calibration."""
