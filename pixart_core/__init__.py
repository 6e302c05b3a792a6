"""PixArt without a host: the models, their files, their text side and their sampling."""
