"""The only code that knows the inside of ComfyUI."""
