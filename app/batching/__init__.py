"""When a batch closes and what goes into it; knows no model and no transport."""
