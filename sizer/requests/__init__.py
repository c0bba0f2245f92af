"""What an EstimateRequest may ask for in addition to the plain estimate; loaded when it does."""
