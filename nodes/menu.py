"""Where the nodes stand in the editor's menu."""

CATEGORY = "PixArt"
