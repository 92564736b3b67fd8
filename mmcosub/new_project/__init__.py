"""A first config for a folder of images and one of masks."""
