"""The sub-commands of `recall`: one file each, its flags and its call."""
