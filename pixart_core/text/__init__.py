"""The text side: what is done to a prompt before and in T5."""
