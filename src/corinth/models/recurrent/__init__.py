"""The recurrent line: networks that carry a state from step to step."""
