"""Many prompts on many machines: headless ComfyUI hosts, spread by Ray.

It stands beside the node pack, which never imports it; ``python -m pixart_fleet`` starts it.
"""
