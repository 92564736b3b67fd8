"""Configs: reading, checking, and turning upstream ones into co-trained ones."""
